"""Reads the Prometheus text format, strictly: what /metrics answers must be no more than this."""
import re

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.]+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')


class Metrics:
    """samples: {(name, ((label, value), ...)): number}, labels sorted; families: {name: type}."""

    def __init__(self, text):
        self.samples, self.families = {}, {}
        family = None
        for line in text.decode("utf-8").splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
                assert family not in self.families, f"{family} begins twice"
                continue
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                assert name == family, line
                self.families[name] = kind
                continue
            match = SAMPLE.match(line)
            assert match, f"not a sample: {line!r}"
            name, labels, value = match.groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name) if self.families[family] == "histogram" else name
            assert base == family, f"{line} stands under {family}"
            key = (name, tuple(sorted(LABEL.findall(labels or ""))))
            assert key not in self.samples, f"twice: {line}"
            self.samples[key] = float(value)

    def get(self, name, **labels):
        """The sample's value; 0 if there is none."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0)

    def series(self):
        return set(self.samples)

    def labels(self, name, label):
        """The values that a label has in a family."""
        return {dict(labels)[label] for found, labels in self.samples if found == name}

    def histogram(self, name, **labels):
        """(bounds as text, counts of the single buckets); checks that they add up."""
        found = [(dict(key)["le"], value) for (sample, key), value in self.samples.items()
                 if sample == name + "_bucket" and labels.items() <= dict(key).items()]
        counts = [value for _, value in found]
        assert found[-1][0] == "+Inf" and counts == sorted(counts), found
        assert counts[-1] == self.get(name + "_count", **labels), (name, labels)
        return [bound for bound, _ in found], [b - a for a, b in zip([0] + counts, counts)]
