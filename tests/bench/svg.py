"""Charts as SVG text: bars, and curves on two log axes."""
import html
import math

WIDTH, MARGIN, LABELS, ROW = 760, 20, 210, 24
BLUE, RED, GREEN, GREY = "#1f77b4", "#d62728", "#2ca02c", "#999999"
COLOURS = (BLUE, RED, GREEN, "#9467bd", "#ff7f0e", "#8c564b")
STYLE = ("text{font:12px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}.axis{stroke:#999}"
         ".grid{stroke:#ddd}.goal{stroke:#333;stroke-dasharray:4 3}")


def document(height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
            f'<style>{STYLE}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


def text(x, y, content, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(str(content))}</text>'


def stroke(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def power(exponent):
    """10^exponent for people."""
    if exponent < -3:
        return f"1e{exponent}"
    value = 10 ** exponent
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


class LogAxis:
    """Whole powers of ten around the values, from `low` to `high` on the page."""

    def __init__(self, values, low, high):
        values = [value for value in values if value > 0] or [1]
        self.first = math.floor(math.log10(min(values)) + 1e-9)
        self.last = max(self.first + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self.low, self.high = low, high

    def at(self, value):
        share = (math.log10(max(value, 10 ** self.first)) - self.first) / (self.last - self.first)
        return self.low + min(share, 1) * (self.high - self.low)

    def ticks(self):
        """(value, text) each."""
        return [(10 ** exponent, power(exponent)) for exponent in range(self.first, self.last + 1)]


class Axis:
    """From nothing to a little more than the greatest value."""

    def __init__(self, values, low, high):
        self.step = 10 ** math.floor(math.log10(max(values)))
        self.most = math.ceil(max(values) / self.step) * self.step
        self.low, self.high = low, high

    def at(self, value):
        return self.low + value / self.most * (self.high - self.low)

    def ticks(self):
        """(value, text) each."""
        count = round(self.most / self.step)
        every = 1 if count <= 5 else 2
        return [(self.step * tick, f"{self.step * tick:,g}") for tick in range(0, count + 1, every)]


def bars(title, unit, items, goal=None):
    """items: (label, value, text, colour) each; goal: where a line is drawn, and then the axis is a log axis."""
    right = WIDTH - 150
    values = [value for _, value, _, _ in items]
    axis = LogAxis([*values, goal / 2, goal * 2], LABELS, right) if goal else Axis(values, LABELS, right)
    bottom = 50 + ROW * len(items)
    parts = [text(MARGIN, 26, title, "title")]
    for value, words in axis.ticks():
        x = axis.at(value)
        parts += [stroke(x, 40, x, bottom, "grid"), text(x, bottom + 16, words, anchor="middle")]
    for index, (label, value, words, colour) in enumerate(items):
        y = 46 + ROW * index
        end = axis.at(value)
        parts += [text(LABELS - 8, y + 13, label, anchor="end"),
                  f'<rect x="{LABELS}" y="{y}" width="{max(end - LABELS, 1):.1f}" height="{ROW - 7}" '
                  f'fill="{colour}"/>',
                  text(max(end, axis.at(goal) if goal else 0) + 6, y + 13, words)]
    if goal:
        parts.append(stroke(axis.at(goal), 40, axis.at(goal), bottom, "goal"))
    return document(bottom + 46, [*parts, text(right, bottom + 34, unit, anchor="end")])


def curves(title, x_unit, y_unit, lines):
    """lines: {name: [(x, y), ...]}."""
    points = [point for line in lines.values() for point in line]
    x_axis = LogAxis([x for x, _ in points], 70, WIDTH - 190)
    y_axis = LogAxis([y for _, y in points], 360, 62)
    parts = [text(MARGIN, 26, title, "title"), text(MARGIN, 44, y_unit), text(x_axis.high, 396, x_unit, anchor="end")]
    for value, words in x_axis.ticks():
        x = x_axis.at(value)
        parts += [stroke(x, y_axis.high, x, y_axis.low, "grid"), text(x, 376, words, anchor="middle")]
    for value, words in y_axis.ticks():
        y = y_axis.at(value)
        parts += [stroke(x_axis.low, y, x_axis.high, y, "grid"), text(64, y + 4, words, anchor="end")]
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in sorted(line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        y = 60 + 18 * index
        parts += [f'<rect x="{WIDTH - 176}" y="{y - 9}" width="10" height="10" fill="{colour}"/>',
                  text(WIDTH - 160, y, name)]
    return document(410, parts)
