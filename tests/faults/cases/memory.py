"""F29: programs of ours in which the nth allocation fails; ctest runs them, too, with fewer n."""
import os
import re
import subprocess

import harness
from catalogue import case
from history import Broken


def run_program(trial, name, stride):
    path = os.path.join(os.path.dirname(harness.PROGRAM), "tests", name)
    done = subprocess.run([path], capture_output=True, text=True, timeout=400,
                          env={**os.environ, "METRICMQ_ALLOC_STRIDE": str(stride)})
    print(done.stdout, done.stderr)
    if done.returncode != 0 or harness.REPORT.search(done.stderr):
        raise Broken(f"{name}: exit {done.returncode}")
    for runs in re.findall(r"(\d+) runs in which an allocation failed", done.stdout):
        trial.count("failures of an allocation", int(runs))


@case("F29", "the nth allocation fails, then all from the nth on: the broker's core, every n", quick=0)
def allocation_fails_in_the_core(trial):
    """No request gets two FINALs; one without any for each failure at most; no leak."""
    run_program(trial, "test_alloc_core", 1)


@case("F29", "the nth allocation fails, then all from the nth on: all roles, as they start and as they work", quick=0,
      long=True)
def allocation_fails_in_the_house(trial):
    """Refused or gone on; store and spool hold whole things only, and all works again with memory back.

    Every n, under sanitizers every 5th."""
    run_program(trial, "test_alloc_house", 5 if harness.SLOW else 1)
