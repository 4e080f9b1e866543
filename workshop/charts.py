"""Line charts as SVG: legible at 360 pixels and in print, in light and in dark mode."""

import html
import math
import statistics

from records import RUNS

WIDTH, HEIGHT = 400, 255  # of a panel
STYLE = """
text { font: 12px system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  fill: #1f2328; stroke: #fff; stroke-width: 3px; paint-order: stroke }
.middle { text-anchor: middle } .page { fill: #fff }
path { fill: none; stroke-width: 2; stroke: #b3400f } circle { fill: #b3400f }
.faint { opacity: 0.4 } .s1, .s3 { stroke-dasharray: 5 4 } .s2, .s3 { stroke: #0b5cad }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; stroke: #0d1117 } .page { fill: #0d1117 }
  path { stroke: #f0883e } circle { fill: #f0883e } .s2, .s3 { stroke: #7ab8f5 }
}
"""


def svg_text(x, y, text, kind=""):
    """Return a text that begins at x, or has x in its middle if its kind says so."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{html.escape(text)}</text>'


def panel(title, labels, series, begin=0, clip=math.inf):
    """Return the elements of a chart, begin pixels below the top: a line for each series.

    series: {name: [(smallest, mean, largest) for each label]}. The points of a single series bear
    their numbers, of several each bears its name. What lies above clip stands at the upper edge.
    """
    values = [value for line in series.values() for spread in line for value in spread]
    low, high, single = min(values), max(v for v in values if v < clip), len(series) == 1
    left, right = (24, 376) if single else (40, 290)
    step = (right - left) / max(1, len(labels) - 1)
    elements, ends = [svg_text(8, begin + 18, title)], []

    def height(value):
        return begin + (52 if value >= clip else 218 - 150 * (value - low) / (high - low))

    for kind, (name, line) in enumerate(series.items()):
        points = [(left + step * i, *map(height, spread)) for i, spread in enumerate(line)]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, _, y, _ in points)
        elements.append(f'<path d="M{path}" class="{"faint" if single else f"s{kind}"}"/>')
        for (x, bottom, y, top), (_, mean, _) in zip(points, line, strict=True):
            if single:
                elements.append(f'<path d="M{x:.1f} {bottom:.1f} V{top:.1f}"/>')
                elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
                shown = f"{mean:.2f}" + ("↑" if mean >= clip else "")
                elements.append(svg_text(round(x), round(top - 8), shown, "middle"))
        ends.append((points[-1][2], f"{name} {line[-1][1]:.2f}"))
    for i, label in enumerate(labels):
        x = round(left + step * i)
        elements += [svg_text(x, begin + 245, label, "middle")] if label else []
    if not single:
        for value in (low, (low + high) / 2, high):
            elements.append(svg_text(6, round(height(value) + 4), f"{value:.1f}"))
        y = -math.inf
        for end, text in sorted(ends):
            y = max(end + 4, y + 15)
            elements.append(svg_text(right + 6, round(y), text))
    return elements


def svg(title, *panels):
    """Return a picture of panels, one below the other."""
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}"'
    view = f'viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}" {size} role="img"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {view}>']
    lines += [f"<title>{html.escape(title)}</title>", f"<style>{STYLE}</style>"]
    lines += [f'<rect {size} class="page"/>']
    return "\n".join(
        [*lines, *(element for elements in panels for element in elements), "</svg>\n"]
    )


def curves(records, words, name, label):
    """Return the series of a run's train and val loss at each evaluation, over the seeds."""
    lines = {}
    for kind in ("train", "val"):
        found = [[point[f"{kind}_loss"] for point in r["curve"][1:]] for r in records.of(name)]
        lines[words[f"{kind} name"].format(label).strip()] = [
            (min(values), statistics.mean(values), max(values))
            for values in zip(*found, strict=True)
        ]
    return lines


def steps_of(records, name):
    """Return the steps of a run's evaluations but the first, as labels, few enough to be read."""
    steps = [point["step"] for point in records.of(name)[0]["curve"][1:]]
    every = math.ceil(len(steps) / 6)
    return [str(s) if (i + 1) % every == 0 else "" for i, s in enumerate(steps)]


def charts(records, words):
    """Return {name: picture} in the language of these words."""
    ladder = [f"v{version}" for version in RUNS["ladder"].versions]
    losses, ends = ([records.spread(name, what) for name in ladder] for what in ("loss", "ends"))
    clip = statistics.median(mean for _, mean, _ in losses) + 0.5
    runs = records.of(ladder[0])
    title = words["loss title"].format(runs[0]["curve"][-1]["step"], len(runs))
    seen = records.of("hour_dropout_0")[0]["form"]["contexts"]
    labels = [str(row["context"]) for row in seen]
    context = [
        panel(words[f"seen {what}"], labels, {"": [[row[what]] * 3 for row in seen]}, HEIGHT * i)
        for i, what in enumerate(("loss", "line_ends"))
    ]
    little = curves(records, words, "little_text.v9", "v9")
    little |= curves(records, words, "little_text.v10", "v10")
    hour = curves(records, words, "hour", "")
    return {
        "ladder": svg(
            title,
            panel(title, ladder, {"": losses}, clip=clip),
            panel(words["ends title"], ladder, {"": ends}, HEIGHT),
        ),
        "context": svg(words["seen loss"], *context),
        "little_text": svg(
            words["little text"],
            panel(words["little text"], steps_of(records, "little_text.v9"), little),
        ),
        "hour": svg(
            words["hour title"], panel(words["hour title"], steps_of(records, "hour"), hour)
        ),
    }
