"""Line charts as SVG: legible at 360 pixels and in print, in light and in dark mode."""

import html
import math

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
