"""How cases are declared, and what a case is given.

    @case("F3", "kill -9 the broker", quick=20, full=200, shard=50)
    def broker_is_killed(trial): ...

`quick` and `full` are the numbers of runs in the two sets (0: not in it); a case of many runs is
split into shards of at most `shard` runs, each in a process of its own. A case fails by raising.
"""
import pathlib
import random
import threading

CASES = {}


class NotBuilt(Exception):
    """What the case tries does not exist yet; says what is missing."""


class Case:
    def __init__(self, codes, title, body, quick, full, shard, alone, long, engine):
        self.codes, self.title, self.body = codes.split(), title, body
        self.name = body.__name__
        self.quick, self.full = quick, full
        self.shard = shard
        self.alone = alone  # measures time: nothing else runs beside it
        self.engine = engine  # the object store that it wants, a kind of s3/engines.py; one for all cases
        self.long = long  # begins before others, since the whole set waits for it

    def runs(self, quick):
        return self.quick if quick else self.full

    def shards(self, quick):
        """The runs of each shard."""
        left, shards = self.runs(quick), []
        while left > 0:
            shards.append(min(left, self.shard or left))
            left -= shards[-1]
        return shards


def case(codes, title, quick=1, full=1, shard=None, alone=False, long=False, engine=None):
    def add(body):
        assert body.__name__ not in CASES, body.__name__
        CASES[body.__name__] = Case(codes, title, body, quick, full, shard, alone, long, engine)
        return body
    return add


class Trial:
    """One shard of a case at work."""

    def __init__(self, seed, folder, index, runs, quick):
        self.random = random.Random(seed)
        self.folder = pathlib.Path(folder)
        self.index, self.runs, self.quick = index, runs, quick
        self.samples = {}  # name: values
        self.sums = {}
        self.notes = []

    def moment(self, least, most):
        """Lets a random time pass: the point of a seeded schedule, not a wait for anything."""
        threading.Event().wait(self.random.uniform(least, most))

    def sample(self, name, value):
        """A measured value; the result shows median and maximum of all shards."""
        self.samples.setdefault(name, []).append(value)

    def count(self, name, value=1):
        """Added up over all shards."""
        self.sums[name] = self.sums.get(name, 0) + value

    def note(self, text):
        self.notes.append(text)
