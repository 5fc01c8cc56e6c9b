"""Runs the fault set: `ops/faults` after the build, or the tests' quick subset.

Each shard of each case runs in a process (and process group) of its own, several at once, since
cases mostly wait. All chance comes from the seed: a shard's is derived from it, its case's name and
its number. The result goes to a JSON file, from which report.py makes docs/reliability.md's table.
"""
import argparse
import contextlib
import concurrent.futures
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "interop"), str(HERE.parent / "integration")]

import catalogue  # noqa: E402
import harness  # noqa: E402
import cases  # noqa: E402, F401  (declares them)
from s3 import engines  # noqa: E402

os.environ.setdefault("LSAN_OPTIONS", f"suppressions={HERE / 'libzmq.supp'}:print_suppressions=0")

SHARD_S = 420  # the longest that a shard may take
LEFT_OUT = {"F21": "not built: CURVE comes with issue 7"}


if harness.SLOW:  # sanitizers keep freed memory, which the broker would think a stranger's
    os.environ.setdefault("METRICMQ_STRAY_MEMORY", "8G")


def shard_seed(seed, case, index):
    return f"{seed}/{case.name}/{index}"


def run_shard(options):
    """In the shard's process: writes its result."""
    name, index, runs = options.shard
    case = catalogue.CASES[name]
    result = {"state": "passed", "runs": int(runs)}
    with tempfile.TemporaryDirectory(prefix="metricmq-fault-", ignore_cleanup_errors=True) as folder:
        trial = catalogue.Trial(shard_seed(options.seed, case, index), folder, int(index), int(runs), options.quick)
        try:
            case.body(trial)
        except (catalogue.NotBuilt, unittest.SkipTest) as missing:
            result.update(state="not built", error=str(missing))
        except BaseException as error:
            traceback.print_exc()
            result.update(state="failed", error=f"{type(error).__name__}: {error}")
    result.update(samples=trial.samples, sums=trial.sums, notes=trial.notes)
    pathlib.Path(options.json).write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of a failed case may hang


def group_is_alive(pid):
    """True if a process of that group is left that is not just dying."""
    found = subprocess.run(["pgrep", "-g", str(pid), "--runstates", "D,R,S,T"], capture_output=True)
    return found.returncode == 0


def start_shard(options, case, index, runs):
    """Runs a shard's process to its end; its result."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file, tempfile.TemporaryFile("w+") as output:
        arguments = [sys.executable, __file__, "--seed", str(options.seed), "--json", file.name]
        arguments += ["--quick"] * options.quick + ["--shard", case.name, str(index), str(runs)]
        began = time.monotonic()
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            process.wait(SHARD_S)
            text = pathlib.Path(file.name).read_text()
            result = json.loads(text) if text else {"state": "failed", "error": "the case's process died"}
        except subprocess.TimeoutExpired:
            result = {"state": "failed", "error": f"not done within {SHARD_S} s"}
        if result["state"] != "failed" and group_is_alive(process.pid):
            result.update(state="failed", error="a process was left behind")
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        result.update(seconds=time.monotonic() - began, output=output.read()[-6000:],
                      seed=shard_seed(options.seed, case, index))
        return {"runs": runs, "samples": {}, "sums": {}, "notes": [], **result}


def merge(case, shards, quick):
    """One result of a case's shards."""
    title = case.title if quick else re.sub(r" \(quick: .*?\)", "", case.title)
    states = {shard["state"] for shard in shards}
    state = "failed" if "failed" in states else "not built" if "not built" in states else "passed"
    samples, sums = {}, {}
    for shard in shards:
        for name, values in shard["samples"].items():
            samples.setdefault(name, []).extend(values)
        for name, value in shard["sums"].items():
            sums[name] = sums.get(name, 0) + value
    observed = [f"{name} {values[0]:.3g}" if len(values) == 1 else
                f"{name} p50 {statistics.median(values):.3g} max {max(values):.3g}" for name, values in samples.items()]
    observed += [f"{value:g} {name}" for name, value in sums.items()]
    observed += dict.fromkeys(note for shard in shards for note in shard["notes"])
    return {"codes": case.codes, "name": case.name, "title": title, "state": state,
            "runs": sum(shard["runs"] for shard in shards), "observed": observed,
            "errors": [shard["error"] for shard in shards if shard.get("error")],
            "seconds": round(max(shard["seconds"] for shard in shards), 1)}


def show(result, shards):
    observed = "; ".join(result["errors"] if result["state"] != "passed" else result["observed"])
    runs = "1 run" if result["runs"] == 1 else f"{result['runs']} runs"
    print(f"{'+'.join(result['codes']):<8} {result['state']:<9} {runs:<8} {result['title']}"
          f"  [{result['seconds']} s]{'  ' if observed else ''}{' '.join(observed.split())[:400]}", flush=True)
    for shard in shards:
        if shard["state"] == "failed":
            print(f"---- {shard['seed']}\n{shard['output']}\n----", flush=True)


def chosen_cases(options):
    only = set(options.only.split(",")) if options.only else None
    return [case for case in catalogue.CASES.values()
            if case.runs(options.quick) and (not only or only & {case.name, *case.codes})]


def run_all(options, chosen):
    """Results of all cases: those that measure time one by one after the others, longest first."""
    results = {}
    together = [case for case in chosen if not case.alone]
    together.sort(key=lambda case: (not case.long, -len(case.shards(options.quick))))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {case.name: [pool.submit(start_shard, options, case, index, runs)
                               for index, runs in enumerate(case.shards(options.quick))] for case in together}
        for case in together:
            shards = [future.result() for future in futures[case.name]]
            results[case.name] = merge(case, shards, options.quick)
            show(results[case.name], shards)
    for case in (case for case in chosen if case.alone):
        shards = [start_shard(options, case, index, runs) for index, runs in enumerate(case.shards(options.quick))]
        results[case.name] = merge(case, shards, options.quick)
        show(results[case.name], shards)
    return list(results.values())


def start_engines(chosen):
    """The stores that the cases want, each started once. Where one cannot be had its cases say so, each for itself."""
    kinds = {case.engine for case in chosen if case.engine}
    if not os.environ.get("METRICMQ_ENGINES") and not os.environ.get("CI"):
        kinds = {kind for kind in kinds if not engines.missing(kind)}
    return engines.share(sorted(kinds))


def left_out(options):
    if options.quick or options.only:
        return []
    return [{"codes": [code], "name": code, "title": why, "state": "not built", "runs": 0, "observed": [],
             "errors": [why], "seconds": 0} for code, why in LEFT_OUT.items()]


def by_code(results):
    """[(code, state)]: a code has passed if each of its cases has."""
    codes = {}
    for result in results:
        for code in result["codes"]:
            codes.setdefault(code, set()).add(result["state"])
    number = lambda code: (int(re.sub(r"\D", "", code) or 999), code)
    return [(code, "failed" if "failed" in codes[code] else "passed" if "passed" in codes[code] else "not built")
            for code in sorted(codes, key=number)]


def git(*arguments):
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True)
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description="the fault set")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run's random choices")
    parser.add_argument("--quick", action="store_true", help="the subset of the ordinary tests")
    parser.add_argument("--only", help="codes or names of cases, separated by commas")
    parser.add_argument("--preset", default="release", help="named in the result")
    parser.add_argument("--jobs", type=int, default=8, help="shards at once")
    parser.add_argument("--json", default=None, help="the result's file")
    parser.add_argument("--shard", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shard:
        run_shard(options)
    if options.seed is None:
        options.seed = int(os.environ.get("METRICMQ_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed: METRICMQ_SEED={options.seed}", flush=True)
    began = time.monotonic()
    chosen = chosen_cases(options)
    with contextlib.ExitStack() as stores:
        for engine in start_engines(chosen):
            stores.enter_context(engine)
        results = run_all(options, chosen) + left_out(options)
    codes = by_code(results)
    passed = sum(state == "passed" for _, state in codes)
    failed = sum(state == "failed" for _, state in codes)
    print()
    for code, state in codes:
        print(f"{code:<8} {state if state != 'not built' else LEFT_OUT.get(code, state)}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({
            "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "commit": git("rev-parse", "--short", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")), "seed": options.seed,
            "preset": options.preset, "quick": options.quick, "seconds": round(time.monotonic() - began),
            "cases": results, "codes": codes}, indent=1))
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
