"""Throughput over time as SVG, a panel for each thing that happened, and a mark where."""
import html

WIDTH, LEFT, RIGHT, TOP, HEIGHT, GAP = 960, 76, 30, 64, 130, 62
STYLE = """<style>
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}
.ground{fill:#fff}.title{font-size:17px;font-weight:600}.name{font-weight:600}.faint{fill:#59636e}
.grid{stroke:#d1d9e0}.axis{stroke:#59636e}.line{fill:none;stroke:#0550ae;stroke-width:1.5;stroke-linejoin:round}
.mark{stroke:#bc4c00;stroke-width:2;stroke-dasharray:5 3}.said{fill:#bc4c00}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}.ground{fill:#0d1117}.faint{fill:#9198a1}.grid{stroke:#3d444d}.axis{stroke:#9198a1}
.line{stroke:#6cb6ff}.mark{stroke:#ffa657}.said{fill:#ffa657}
}
</style>"""


def text(x, y, words, kind="", anchor="start"):
    return '<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>' % (kind, x, y, anchor, html.escape(words))


def line(kind, x1, y1, x2, y2):
    return '<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' % (kind, x1, y1, x2, y2)


def nice(most):
    """The least of 1, 2, 5, 10 … that is not below."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor >= most:
                return step * factor
        step *= 10


class Panel:
    """Of what happened at time 0: outcomes a second, from (second, rate) points."""

    def __init__(self, title, mark, points, number, most):
        self.title, self.mark, self.points = title, mark, points
        self.top = TOP + 30 + number * (HEIGHT + GAP)
        self.from_s, self.to_s = int(points[0][0]) - 1, int(points[-1][0]) + 1
        self.most = min(nice(max(rate for _, rate in points)), nice(most))

    def x(self, second):
        return LEFT + (second - self.from_s) / (self.to_s - self.from_s) * (WIDTH - LEFT - RIGHT)

    def y(self, rate):
        return self.top + (1 - min(rate / self.most, 1)) * HEIGHT

    def draw(self):
        yield text(LEFT, self.top - 12, self.title, "name")
        for rate in (0, self.most / 2, self.most):
            yield line("grid" if rate else "axis", LEFT, self.y(rate), WIDTH - RIGHT, self.y(rate))
            yield text(LEFT - 8, self.y(rate) + 4, "%g" % rate, "", "end")
        for second in range(self.from_s, self.to_s + 1):
            yield line("grid", self.x(second), self.top, self.x(second), self.top + HEIGHT)
            yield text(self.x(second), self.top + HEIGHT + 18, "%d s" % second, "faint", "middle")
        yield '<polyline class="line" points="%s"/>' % " ".join("%.1f,%.1f" % (self.x(s), self.y(r)) for s, r in self.points)
        yield line("mark", self.x(0), self.top - 6, self.x(0), self.top + HEIGHT)
        yield text(self.x(0) + 6, self.top + 12, self.mark, "said")


def timeline(times, at, bucket_s=0.1):
    """(second after `at`, outcomes a second) of the times."""
    counts = {}
    for time in times:
        number = int((time - at) // bucket_s)
        counts[number] = counts.get(number, 0) + 1
    # The last bucket is not full.
    return [((number + 0.5) * bucket_s, counts.get(number, 0) / bucket_s) for number in range(min(counts), max(counts))]


def draw(path, title, happened, most):
    """happened: (title, mark, points) of each panel. What is caught up after an outage would dwarf all else: it is cut at
    `most`."""
    height = TOP + 30 + len(happened) * (HEIGHT + GAP)
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">' % (
        WIDTH, height, WIDTH, height), "<title>%s</title>" % html.escape(title), STYLE,
        '<rect class="ground" width="%d" height="%d"/>' % (WIDTH, height), text(LEFT, 32, title, "title")]
    for number, one in enumerate(happened):
        parts += Panel(*one, number, most).draw()
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*parts, "</svg>", ""]))
