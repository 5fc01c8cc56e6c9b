"""Writes the table of docs/hosts.md from the results of runs: report.py RESULT.json... PAGE.md"""
import json
import pathlib
import sys

BEGIN, END = "<!-- hosts: begin -->", "<!-- hosts: end -->"
COLUMNS = ("whole", "append", "stream", "feedback", "http")


def about(result):
    changed = " with changes" if result["changed"] else ""
    count = sum(fault["runs"] for fault in result["faults"])
    outcome = f"**failed**: {result['error']}" if result["error"] else "nothing lost, doubled or wrong"
    done = ", ".join(f"{value} {name}" for name, value in result["done"].items())
    return (f"Run of {result['date']}, commit {result['commit']}{changed}, `ops/hosts {result['arguments']}`: {count} faults in "
            f"{result['seconds']} s, {outcome}. Under it: {done}.")


def table(results):
    for result in results:
        yield about(result)
        yield ""
    yield "| fault | runs | whole again, s | append, s | stream, s | feedback, s | HTTP, s |"
    yield "|---|---|---|---|---|---|---|"
    for fault in (fault for result in results for fault in result["faults"]):
        cells = ["{:.2f} / {:.2f}".format(*fault[name]) for name in COLUMNS]
        yield f"| {fault['fault'].replace('-', ' ')} | {fault['runs']} | {' | '.join(cells)} |"


def main():
    *files, page = map(pathlib.Path, sys.argv[1:])
    results = [json.loads(file.read_text()) for file in files]
    before, rest = page.read_text().split(BEGIN)
    page.write_text(before + BEGIN + "\n" + "\n".join(table(results)) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
