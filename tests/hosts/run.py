"""Rounds of faults on the bed (bed.py) under load (load.py): `ops/hosts`, or the quick subset of the ordinary tests.

    run.py [--rounds N] [--only FAULT[,FAULT]...] [--quick] [--seed S] [--lasts FROM-TO] [--json FILE]

A fault is `kill`, `cut` or `freeze` of a host of some kind, or `promote`, where the primary was killed or cut off; --only takes its name (kill-broker), its kind of
host or what is done. A round has each of them once, in an order that follows from the seed, on a host of its kind that
does too. All is over with a fault when the whole bed is there again and every client has had something done that it began
afterwards; then acknowledged rows are looked at. At the end all is compared: rows, archives, both databases.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "faults")]

import network  # noqa: E402

import bed as beds  # noqa: E402
import harness  # noqa: E402
import load as loads  # noqa: E402

KINDS = ("broker", "worker", "adapter", "proxy", "archive", "standby", "primary")
FAULTS = [*(f"{what}-{kind}" for kind in KINDS for what in ("kill", "cut", "freeze")), "promote", "promote-cut", "part-worker"]
QUICK = ["kill-worker", "cut-broker", "promote"]
DOWN_S, LASTS = 1.0, "4-6"
RECOVERS_S = 90
ROWS_LOOKED_AT = 2000


class Bench:
    """The bed and its load, and what was measured."""

    def __init__(self, chance, quick, lasts_s):
        self.random, self.quick, self.lasts_s = chance, quick, lasts_s
        self.bed = beds.Bed(chance)
        self.load = loads.Load(self.bed, chance)
        self.results = collections.defaultdict(lambda: collections.defaultdict(list))
        self.wait(lambda: self.load.renewed(0), "the load's first answers")

    def wait(self, condition, what):
        end = time.monotonic() + RECOVERS_S
        while not condition():
            assert time.monotonic() < end, f"{what} did not come within {RECOVERS_S} s"
            time.sleep(0.05)

    # ---- faults: each returns when what it has broken is mended as far as an operator does it ----

    def kill(self, kind, host):
        node = getattr(self.bed, kind, None)
        if host.name in self.bed.roles:
            self.bed.roles[host.name].kill()
        elif node is not None:
            node.kill()
        else:
            host.kill()
        time.sleep(DOWN_S)
        if host.name in self.bed.roles:
            self.bed.roles[host.name].start()
        elif node is not None:
            node.start()

    def lasts(self):
        time.sleep(3.5 if self.quick else self.random.uniform(*self.lasts_s))  # the bus gives a peer up after 3 s

    def cut(self, kind, host):
        host.cut()
        self.lasts()
        host.join()

    def freeze(self, kind, host):
        host.freeze()
        self.lasts()
        host.thaw()

    def part(self, kind, host):
        """Only between it and the databases packets vanish."""
        nodes = (self.bed.primary.host, self.bed.standby.host)
        for node in nodes:
            host.part(node)
        self.lasts()
        for node in nodes:
            host.meet(node)

    def promote(self, vanishes):
        """As an operator, or what he has for it, does it: until there is a standby again commits wait for none. The old
        primary ends before it is joined again: there is never a second one."""
        old, new = self.bed.primary, self.bed.standby
        if vanishes:
            old.host.cut()
        else:
            old.kill()
        new.promote()
        new.set_synchronous(False)
        self.bed.primary, self.bed.standby = new, old
        if vanishes:
            promoted = time.monotonic()
            self.wait(lambda: self.load.renewed(promoted), "answers for all from the new primary")
            old.kill()
            old.host.join()
        old.rebuild(new)
        new.set_synchronous(True)

    # ---- rounds ----

    def run(self, fault):
        what, _, kind = fault.partition("-")
        host = self.bed.primary.host if what == "promote" else self.bed.host_of(kind)
        begin = time.monotonic()
        if what == "promote":
            self.promote(kind == "cut")
        else:
            getattr(self, what)(kind, host)
        mended = time.monotonic()
        self.wait(self.bed.is_whole, f"the whole bed after {fault} of {host.name}")
        whole = time.monotonic()
        self.wait(lambda: self.load.renewed(whole), f"answers for all after {fault} of {host.name}")
        self.load.check_rows(ROWS_LOOKED_AT)
        result = self.results[fault]
        result["whole"].append(whole - mended)
        for name, longest_s in self.load.longest(begin).items():
            result[name].append(longest_s)
        print(f"{fault:<16} {host.name:<8} whole again {whole - mended:5.2f} s; longest " + ", ".join(
            f"{name} {result[name][-1]:.2f}" for name in loads.KINDS), flush=True)

    def finish(self):
        """What was done; raises if something is lost, doubled or wrong."""
        done = self.load.finish()
        self.load.check_rows()
        accepted = {}
        for dumper in self.load.dumpers:
            assert not accepted.keys() & dumper.accepted.keys(), "a key was told twice"
            accepted.update(dumper.accepted)
        self.bed.check_dumps(accepted)
        self.bed.check_store()
        tries = sum((client.tries for client in self.load.clients), collections.Counter())
        print(f"done: {done}; told: {dict(tries)}", flush=True)
        self.bed.stop()
        return done

    def abandon(self):
        self.load.abandon()
        print(self.bed.log(), flush=True)


def chosen(options):
    if options.only is None:
        return QUICK if options.quick else FAULTS
    only = set(options.only.split(","))
    found = [fault for fault in FAULTS if only & {fault, *fault.split("-")}]
    if not found:
        sys.exit(f"no such fault; there are {', '.join(FAULTS)}")
    return found


def summary(results):
    """[{fault, runs, whole: [p50, max], ...}]"""
    return [{"fault": fault, "runs": len(results[fault]["whole"]),
             **{name: [statistics.median(values), max(values)] for name, values in results[fault].items()}}
            for fault in FAULTS if fault in results]


def git(*arguments):
    return subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True).stdout.strip()


def arguments(options):
    """What repeats the run."""
    words = [f"--rounds {options.rounds} --seed {options.seed}"]
    words += [f"--only {options.only}"] if options.only else []
    words += [f"--lasts {options.lasts}"] if options.lasts != LASTS else []
    return " ".join(words)


def write(options, bench, done, error, began):
    pathlib.Path(options.json).write_text(json.dumps({
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "commit": git("rev-parse", "--short", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")), "seed": options.seed, "error": error,
        "arguments": arguments(options), "seconds": round(time.monotonic() - began), "done": done,
        "faults": summary(bench.results)}, indent=1))


def main():
    parser = argparse.ArgumentParser(description="hosts that fail, under load")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", help="faults, what is done or kinds of hosts, separated by commas")
    parser.add_argument("--quick", action="store_true", help="one round of a few faults")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's random choices")
    parser.add_argument("--lasts", default=LASTS, help="seconds that a host is cut off or frozen, from-to")
    parser.add_argument("--json", help="the result's file")
    options = parser.parse_args()
    network.enter()
    if options.seed is None:
        options.seed = int(os.environ.get("METRICMQ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed: METRICMQ_SEED={options.seed}", flush=True)
    chance, faults, began = random.Random(options.seed), chosen(options), time.monotonic()
    options.rounds = 1 if options.quick else options.rounds
    bench, done, error = Bench(chance, options.quick, tuple(map(float, options.lasts.split("-")))), {}, None
    print(f"the bed is there after {time.monotonic() - began:.1f} s", flush=True)
    try:
        for number in range(options.rounds):
            for fault in faults if options.quick else chance.sample(faults, len(faults)):
                bench.run(fault)
            if options.json:
                write(options, bench, done, error, began)
        done = bench.finish()
    except BaseException as broken:
        traceback.print_exc()
        error = f"{type(broken).__name__}: {broken}"
        bench.abandon()
    if options.json:
        write(options, bench, done, error, began)
    count = sum(len(result["whole"]) for result in bench.results.values())
    print(f"{time.monotonic() - began:.0f} s\n{count} faults, {'FAILED: ' + error[:300] if error else 'nothing lost, doubled or wrong'}",
          flush=True)
    sys.stdout.flush()
    os._exit(1 if error else 0)  # threads of a run that failed may hang


if __name__ == "__main__":
    main()
