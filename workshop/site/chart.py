"""Small charts of a page as SVG within its HTML: axes with round numbers, colours of the page."""

import html
import math

LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT = 44, 140, 16, 44, 520, 270
NAME = 17  # from one name to the next below it
CEILING = 7.0  # losses above it are drawn at the upper edge: guessing is at 8.37


def round_ticks(low, high, count=5):
    """Return round numbers from below low to above high, about so many."""
    power = 10 ** math.floor(math.log10((high - low) / count))
    step = next(n * power for n in (1, 2, 5, 10) if (high - low) / (n * power) <= count)
    return [round(i * step, 9) for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def line_chart(title, lines, x_label, y_label):
    """Return a chart of lines: {name: [(x, y)]}; of points above the ceiling, an arrow is left."""
    points = [point for line in lines.values() for point in line]
    xs = round_ticks(0, max(x for x, _ in points), 4)
    ys = round_ticks(min(y for _, y in points), min(CEILING, max(y for _, y in points)))
    end = max(x for x, _ in points)  # where the lines end, their names begin
    across = (WIDTH - LEFT - RIGHT) / end
    up = (HEIGHT - TOP - BOTTOM) / (ys[-1] - ys[0])

    def place(x, y):
        return LEFT + across * x, TOP + up * (ys[-1] - min(y, ys[-1]))

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{html.escape(title)}</title>")
    for y in ys:
        height = place(0, y)[1]
        parts.append(f'<path class="grid" d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" class="end">{y:g}</text>')
    for x in (x for x in xs if x <= end):
        at = f'x="{place(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}"'
        parts.append(f'<text {at} class="middle">{x:,.0f}</text>')
    at = f'x="{WIDTH - RIGHT}" y="{HEIGHT - 4}"'
    parts.append(f'<text {at} class="end">{html.escape(x_label)}</text>')
    parts.append(f'<text x="{LEFT + 4}" y="{TOP - 3}">{html.escape(y_label)}</text>')
    ends = []
    for number, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline class="s{number % 6}" points="{path}"/>')
        ends.append((place(*line[-1])[1], number, name + (" ↑" if line[-1][1] > ys[-1] else "")))
    below, left = -math.inf, len(ends)
    for height, number, name in sorted(ends):  # names below one another, where lines end together
        left -= 1
        below = max(min(height + 4, HEIGHT - BOTTOM + 4 - left * NAME), below + NAME)
        at = f'x="{WIDTH - RIGHT + 8}" y="{below:.1f}" class="s{number % 6}"'
        parts.append(f"<text {at}>{html.escape(name)}</text>")
    return "\n".join([*parts, "</svg>\n"])


def curves_of(records, names, t):
    """Return the val loss of recorded runs, step by step, as a chart: what an exercise asks for.

    A line for the first seed of each, or one for every seed where they are far apart.
    """
    lines = {}
    for name in dict.fromkeys(names):
        shown = t["runs"].get(name.removeprefix("exercise_"), name)
        found = [record for record in records.of(name) if "curve" in record]  # trained, that is
        wide = found and records.wide(name)
        for record in found if wide else found[:1]:
            seed = f" ({record['seed']})" if wide else ""
            points = [(point["step"], point["val_loss"]) for point in record["curve"][1:]]
            lines[shown + seed] = points
    long = {name: line for name, line in lines.items() if len(line) > 1}
    if not long:
        return ""
    chart = line_chart(t["val_loss"], long, t["steps_axis"], t["val_loss"])
    return f"<figure>{chart}<figcaption>{t['curves']}</figcaption></figure>"
