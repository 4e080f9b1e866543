"""Line charts as SVG: legible at 360 pixels and in print, in light and in dark mode."""

import html
import itertools
import math
import statistics

from experiments import SWEEP, SWEPT
from quantities import WIDE
from records import RUNS
from tables import COUNTED, LONG

WIDTH, HEIGHT, TALL = 400, 255, 340  # of a panel
TOP = 6.5  # losses above it stand at the upper edge: of a text like this one they say the same
STYLE = """
text { font: 12px system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  fill: #1f2328; stroke: #fff; stroke-width: 3px; paint-order: stroke }
.middle { text-anchor: middle } .page { fill: #fff }
path { fill: none; stroke-width: 2; stroke: #b3400f } circle { fill: #b3400f }
.faint { opacity: 0.4 } path.level { stroke: #848d97; stroke-dasharray: 2 3 }
.s1, .s3 { stroke-dasharray: 5 4 } .s2, .s3 { stroke: #0b5cad }
circle.s2, circle.s3 { fill: #0b5cad } .s4 { stroke: #1a7f37 } circle.s4 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; stroke: #0d1117 } .page { fill: #0d1117 }
  path { stroke: #f0883e } circle { fill: #f0883e } .s2, .s3 { stroke: #7ab8f5 }
  circle.s2, circle.s3 { fill: #7ab8f5 } .s4 { stroke: #56d364 } circle.s4 { fill: #56d364 }
}
"""


def svg_text(x, y, text, kind=""):
    """Return a text that begins at x, or has x in its middle if its kind says so."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{html.escape(text)}</text>'


def panel(title, labels, series, begin=0, tall=HEIGHT, clip=math.inf, levels=None):
    """Return the elements of a chart, begin pixels below the top: a line for each series.

    series: {name: [numbers of the seeds, maybe none, for each label]}. Seeds that are no group are
    dots, and the line of the means has a gap there. A few points of one or two series bear their
    numbers; of several series each bears its name. levels: {name: height of a line across}
    """
    levels = levels or {}
    values = [v for line in series.values() for seeds in line for v in seeds] + [*levels.values()]
    low, high = min(values), max(value for value in values if value < clip)
    numbered, named = len(series) < 3 and len(labels) <= 12, len(series) > 1 or levels
    left, right = 24 if numbered else 40, 282 if named else 376
    step = (right - left) / max(1, len(labels) - 1)
    elements, ends = [svg_text(8, begin + 18, title)], []

    def height(value):
        return begin + (52 if value >= clip else tall - 37 - (tall - 105) * (value - low) / span)

    def dot(x, value, kind, shown, below):
        y = height(value)
        elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{kind}"/>')
        if shown:
            elements.append(svg_text(round(x), round(y + (17 if below else -8)), shown, "middle"))

    span = high - low or 1
    for name, value in levels.items():
        y = height(value)
        elements.append(f'<path d="M{left} {y:.1f} H{right}" class="level"/>')
        ends.append((y, f"{name} {value:.2f}"))
    firsts = [statistics.mean(next(filter(None, line))) for line in series.values()]
    for number, (name, line) in enumerate(series.items()):
        kind = f"s{2 * number if len(series) < 4 else number}"
        below = firsts.index(min(firsts)) == number and len(series) > 1  # its numbers
        points, edge = [], ""
        for i, seeds in enumerate(line):
            x = left + step * i
            apart = seeds and (max(seeds) - min(seeds) > WIDE or max(seeds) >= clip)
            mean = statistics.mean(seeds) if seeds else None
            points.append((x, height(mean)) if seeds and not apart else None)
            if apart:
                for value in seeds:
                    dot(x, value, kind, "↑" if value >= clip else "", below=False)
            elif seeds and len(labels) <= 12:
                ys = (height(max(seeds)), height(min(seeds)))
                elements.append(f'<path d="M{x:.1f} {ys[0]:.1f} V{ys[1]:.1f}" class="{kind}"/>')
                dot(x, mean, kind, f"{mean:.2f}" if numbered else "", below)
            if seeds:
                end = min(seeds) if apart else mean
                edge = height(end), name if apart or numbered else f"{name} {end:.2f}"
        for there, part in itertools.groupby(points, key=bool):
            path = " L".join(f"{x:.1f} {y:.1f}" for x, y in part) if there else ""
            faint = " faint" if numbered else ""
            elements += [f'<path d="M{path}" class="{kind}{faint}"/>'] if path else []
        ends += [edge] if edge and len(series) > 1 else []
    for i, label in enumerate(labels):
        x = round(left + step * i)
        elements += [svg_text(x, begin + tall - 10, label, "middle")] if label else []
    if not numbered:
        apart = next(n for n in (0.1, 0.2, 0.5, 1, 2, 5, math.inf) if span <= 5 * n)  # round ones
        for i in range(math.ceil(low / apart), math.floor(high / apart) + 1):
            elements.append(svg_text(6, round(height(i * apart) + 4), f"{i * apart:.1f}"))
    y = -math.inf
    for end, text in sorted(ends):
        y = max(end + 4, y + 15)
        elements.append(svg_text(right + 14, round(y), text))
    return elements


def svg(title, *panels, tall=HEIGHT):
    """Return a picture of panels, one below the other."""
    size = f'width="{WIDTH}" height="{tall * len(panels)}"'
    view = f'viewBox="0 0 {WIDTH} {tall * len(panels)}" {size} role="img"'
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
        lines[words[f"{kind} name"].format(label).strip()] = [*zip(*found, strict=True)]
    return lines


def steps_of(records, name):
    """Return the steps of a run's evaluations but the first, as labels, few enough to be read."""
    steps = [point["step"] for point in records.of(name)[0]["curve"][1:]]
    every = math.ceil(len(steps) / 6)
    return [str(s) if (i + 1) % every == 0 else "" for i, s in enumerate(steps)]


def ladder(records, words):
    """Return the picture of the ladder: loss and line ends at both budgets, beside counting."""
    names = [f"v{version}" for version in RUNS["ladder"].versions]
    lines = {"loss": {}, "ends": {}}
    for run in (run for run in ("ladder", LONG) if records.find(f"{run}.v1")):
        steps = words["steps name"].format(records.of(f"{run}.v1")[0]["curve"][-1]["step"])
        for what, series in lines.items():
            runs = [f"{run}.{name}" for name in names]
            series[steps] = [records.values(r, what) if records.find(r) else [] for r in runs]
    levels = {"loss": COUNTED, "ends": ("forms", "rule")}
    panels = []
    for i, (what, series) in enumerate(lines.items()):
        found = {
            words[f"{name} line"]: records.spread(name, what)[1]
            for name in levels[what]
            if records.find(name)
        }
        title = words[f"{what} title"]
        panels.append(panel(title, names, series, TALL * i, TALL, TOP, found))
    return svg(words["loss title"], *panels, tall=TALL)


def charts(records, words):
    """Return {name: picture} in the language of these words, of what has been measured."""
    seen = records.of("scale.v12")[0]["form"]["contexts"]
    labels = [str(row["context"]) for row in seen]
    context = [
        panel(words[f"seen {what}"], labels, {"": [[row[what]] for row in seen]}, HEIGHT * i)
        for i, what in enumerate(("loss", "line_ends"))
    ]
    pictures = {"ladder": ladder(records, words), "context": svg(words["seen loss"], *context)}
    curved = {"little_text": {"v9": "little_text.v9", "v10": "little_text.v10"}}
    curved |= {"hour": {"": "hour"}, "scale": {"v12": "scale.v12", "v16": "scale.v16"}}
    for picture, names in curved.items():
        if all(map(records.find, names.values())):
            title, series = words[f"{picture} title"], {}
            for label, name in names.items():
                series |= curves(records, words, name, label)
            pictures[picture] = svg(title, panel(title, steps_of(records, name), series))
    rates = {r: run for r, run in SWEEP.items() if any(records.find(f"{run}.{n}") for n in SWEPT)}
    series = {
        name: [
            records.values(f"{run}.{name}") if records.find(f"{run}.{name}") else []
            for run in rates.values()
        ]
        for name in SWEPT
    }
    title = words["sweep title"]
    return pictures | {"rates": svg(title, panel(title, [*rates], series, clip=TOP))}
