"""Writes the table of docs/reliability.md from the result of a run: report.py RESULT.json PAGE.md"""
import json
import pathlib
import sys

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def cell(text):
    return " ".join(text.split()).replace("|", "\\|")


def row(case):
    observed = case["observed"] if case["state"] == "passed" else case["errors"]
    runs = str(case["runs"]) if case["runs"] else ""
    return f"| {', '.join(case['codes'])} | {cell(case['title'])} | {runs} | {case['state']} | {cell('; '.join(observed))} |"


def order(case):
    code = case["codes"][0]
    return (0, int(code[1:])) if code[1:].isdigit() else (1, 0)


def table(result):
    changed = " with changes" if result["changed"] else ""
    states = [state for _, state in result["codes"]]
    yield (f"Run of {result['date']}, commit {result['commit']}{changed}, preset {result['preset']}, "
           f"seed {result['seed']}: {states.count('passed')} passed, {states.count('failed')} failed, in "
           f"{result['seconds']} s. Repeat it with `ops/faults --seed {result['seed']}`.")
    yield ""
    yield "| | fault | runs | result | observed |"
    yield "|---|---|---|---|---|"
    yield from (row(case) for case in sorted(result["cases"], key=order))


def main():
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    page = pathlib.Path(sys.argv[2])
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + BEGIN + "\n" + "\n".join(table(result)) + "\n" + END + after)


if __name__ == "__main__":
    main()
