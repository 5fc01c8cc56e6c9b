"""Writes the table of docs/hosts.md from the result of a run: report.py RESULT.json PAGE.md"""
import json
import pathlib
import sys

BEGIN, END = "<!-- hosts: begin -->", "<!-- hosts: end -->"
COLUMNS = ("whole", "append", "stream", "feedback", "http")


def table(result):
    changed = " with changes" if result["changed"] else ""
    count = sum(fault["runs"] for fault in result["faults"])
    outcome = f"**failed**: {result['error']}" if result["error"] else "nothing lost, doubled or wrong"
    yield (f"Run of {result['date']}, commit {result['commit']}{changed}, seed {result['seed']}: {count} faults in "
           f"{result['seconds']} s, {outcome}. Repeat it with `ops/hosts --seed {result['seed']} --rounds {result['rounds']}`.")
    yield ""
    if result["done"]:
        yield "Under it: " + ", ".join(f"{value} {name}" for name, value in result["done"].items()) + "."
        yield ""
    yield "| fault | runs | whole again, s | append, s | stream, s | feedback, s | HTTP, s |"
    yield "|---|---|---|---|---|---|---|"
    for fault in result["faults"]:
        cells = ["{:.2f} / {:.2f}".format(*fault[name]) for name in COLUMNS]
        yield f"| {fault['fault'].replace('-', ' ')} | {fault['runs']} | {' | '.join(cells)} |"


def main():
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    page = pathlib.Path(sys.argv[2])
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(table(result)) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
