"""What the benchmarks share: the program's parts on one CPU, their CPU time, medians of interleaved runs.

A wake-up from one CPU to another is slow and of two speeds on virtual machines, so everything runs on one CPU
unless a benchmark says otherwise, and a figure is a ratio of two that were measured in the same run.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402

BUILD = pathlib.Path(os.environ.get("METRICMQ_BUILD", harness.SOURCE / "build" / "release"))
harness.PROGRAM = os.environ.get("METRICMQ_PROGRAM", str(BUILD / "metricmq"))


def tool(name):
    return str(BUILD / "tests" / name)


def pin():
    """Runs this process and its children on one CPU."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def cpu_seconds(pid):
    """User and system time of all its threads so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def load(*args):
    """The report of one run of `metricmq load`, whatever its exit status."""
    done = subprocess.run([harness.PROGRAM, "load", "--json", *map(str, args)], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def broker(*args):
    return harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL, *args)


def connected(program):
    """The options that lead `metricmq load` to a broker."""
    return ("--connect", program.ready["clients"], "--connect-workers", program.ready["workers"])


def medians(runs, keys):
    return {key: statistics.median(run[key] for run in runs) for key in keys}


def arguments(description, repeats=5, seconds=2.0):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--seconds", type=float, default=seconds)
    return parser.parse_args()
