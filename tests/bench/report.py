"""Figures, their goals, and how they are shown: a table as text, a list of objects as JSON, bars and curves as SVG."""
import dataclasses
import json
import operator
import re
import statistics

import svg

COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclasses.dataclass
class Goal:
    """"ratio >= 12", "value <= 25": what the figure's ratio or value must be."""
    of: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text):
        of, sign, bound = re.fullmatch(r"(ratio|value) (>=|<=) ([\d.]+)", text).groups()
        return cls(of, sign, float(bound))

    def met(self, result):
        return COMPARE[self.sign](getattr(result, self.of), self.bound)

    def __str__(self):
        return f"{self.of} {self.sign} {self.bound:g}"


@dataclasses.dataclass
class Result:
    name: str
    value: float
    unit: str
    reference: float = None
    ratio: float = None
    goal: Goal = None
    spread: tuple = None  # least and greatest ratio, or value where there is no reference

    @property
    def ok(self):
        return self.goal is None or self.goal.met(self)

    def as_dict(self):
        return {"name": self.name, "value": self.value, "unit": self.unit, "reference": self.reference,
                "ratio": self.ratio, "goal": self.goal and str(self.goal), "ok": self.ok}


class Report:
    """What a run of benchmarks found; they add to it as they go."""

    def __init__(self, show=print):
        self.results = []
        self.curves = {}  # chart -> {curve: [(x, y)]}
        self.peers = []  # bars, as svg.bars has them
        self.show = show

    def heading(self, title):
        self.show(f"\n{title}\n{'':40}{'median':>12} {'unit':16}{'reference':>11}{'ratio':>8}  spread")

    def add(self, result):
        self.results.append(result)
        self.show(line(result))

    def compare(self, name, unit, ours, theirs, goal=None):
        """Medians of both and of their ratios, round by round."""
        ratios = [a / b for a, b in zip(ours, theirs)]
        self.add(Result(name, statistics.median(ours), unit, statistics.median(theirs), statistics.median(ratios),
                        goal and Goal.parse(goal), (min(ratios), max(ratios))))

    def value(self, name, unit, ours, goal=None):
        self.add(Result(name, statistics.median(ours), unit, goal=goal and Goal.parse(goal),
                        spread=(min(ours), max(ours))))

    def point(self, chart, curve, x, y):
        self.curves.setdefault(chart, {}).setdefault(curve, []).append((x, y))

    def take(self, theme, figure, goal=None):
        """Adds what another program measured: name, value, unit, maybe reference, ratio, goal (a number: of the
        value), samples and reference_samples."""
        name = re.sub(r"[^a-z0-9]+", "_", figure["name"].lower()).strip("_")
        name = name if name.startswith(theme) else f"{theme}_{name}"
        if goal is None and figure.get("goal") is not None:
            goal = f"value >= {figure['goal']}"
        samples, references = figure.get("samples"), figure.get("reference_samples")
        if samples and references:
            self.compare(name, figure["unit"], samples, references, goal)
            return
        self.add(Result(name, figure["value"], figure["unit"], figure.get("reference"), figure.get("ratio"),
                        goal and Goal.parse(goal)))

    def write_json(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump([result.as_dict() for result in self.results], file, indent=1)
            file.write("\n")

    def write_svg(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        goals = [result for result in self.results if result.goal]
        if goals:
            (folder / "goals.svg").write_text(svg.bars("How far each figure is from its goal", "times the goal",
                                                       [bar(result) for result in goals], goal=1))
        if self.peers:
            (folder / "peers.svg").write_text(svg.bars("Peers on one CPU", "million rows a second",
                                                       self.peers))
        for chart, (title, x, y) in CHARTS.items():
            if chart in self.curves:
                (folder / f"{chart}.svg").write_text(svg.curves(title, x, y, self.curves[chart]))


CHARTS = {
    "rows": ("Cost against rows", "rows of one metric", "ns of CPU a row"),
    "queries": ("Cost of a query against size", "rows in the store", "us of CPU a query"),
    "metrics": ("Cost against metrics", "metrics, with the same rows in all", "ns of CPU a row"),
    "limit": ("limit=1 over all metrics", "metrics", "ms of CPU"),
}


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def line(result):
    spread = f"{number(result.spread[0])} .. {number(result.spread[1])}" if result.spread else ""
    verdict = f"  {'ok' if result.ok else 'MISSED'} ({result.goal})" if result.goal else ""
    return (f"  {result.name:38}{number(result.value):>12} {result.unit:16}{number(result.reference):>11}"
            f"{number(result.ratio):>8}  {spread}{verdict}")


def bar(result):
    """As svg.bars has it: times the goal, where 1 and more is met, whichever way the goal looks."""
    measured = getattr(result, result.goal.of)
    times = measured / result.goal.bound if result.goal.sign == ">=" else result.goal.bound / max(measured, 1e-9)
    colour = svg.GREEN if result.ok else svg.RED
    return result.name, times, f"{number(measured)} ({result.goal.sign} {result.goal.bound:g})", colour
