#!/usr/bin/python3
"""Runs the benchmarks and shows what they found. Exit status 1: one could not be made; a goal that was missed is a
figure like any other."""
import importlib
import json
import pathlib
import sys
import traceback

import bench
import datasets
import options as settings
import report as reports

PROGRAMS = ("ingest",)

def run_program(name, options, report):
    """A benchmark that is a program of its own and prints a list of figures."""
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    if not path.exists():
        report.show(f"  left out: there is no {path.name}")
        return
    bench.pin(False)  # it does as it sees fit
    done = bench.run([sys.executable, path, "--json", "--repeats", options.repeats])
    for figure in json.loads(done["out"]):
        report.take(name, figure)


def run_theme(name, options, report):
    report.heading(settings.THEMES[name])
    try:
        if name in PROGRAMS:
            run_program(name, options, report)
        else:
            theme = importlib.import_module(name)
            bench.pin(getattr(theme, "PINNED", True))
            theme.main(options, report)
        return True
    except Exception as error:  # whatever it was: the others' figures are not lost for it
        if not isinstance(error, bench.Failed):
            traceback.print_exc()
        print(f"  FAILED: {name}: {error}", file=sys.stderr)
        return False


def summarize(report, failed):
    goals = [result for result in report.results if result.goal]
    missed = [result.name for result in goals if not result.ok]
    print(f"\n{len(report.results)} figures, {len(goals) - len(missed)} of {len(goals)} goals met"
          + (f"; missed: {', '.join(missed)}" if missed else "")
          + (f"; failed: {', '.join(failed)}" if failed else ""))


def main():
    options = settings.parse()
    report = reports.Report(lambda text: print(text, flush=True))
    try:
        with datasets.alone():
            failed = [name for name in options.names if not run_theme(name, options, report)]
    except (bench.Failed, OSError) as error:
        raise SystemExit(f"ops/bench: {error}") from None
    if options.json:
        report.write_json(options.json)
    if options.svg:
        report.write_svg(options.svg)
    summarize(report, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
