#!/usr/bin/python3
"""What taking rows in costs, on all CPUs there are: rows a second of CPU time (of the client and of `metricmq up`, user
and system) for an import and for batches that were made before, beside what Python's sqlite3 takes for the same rows in
the same batches; durable appends of one row a second over 100 clients, beside the fdatasyncs a second of the same disk.
Medians of interleaved runs."""
import argparse
import datetime
import json
import os
import pathlib
import random
import re
import sqlite3
import statistics
import subprocess
import tempfile
import time

import bench
import harness

ROWS = 1000000
BATCH_BYTES = 1 << 20
BATCH_ROWS = 32000
CLIENTS = 100
GOALS = {"import": 500000, "batches": 500000, "appends": 2000}


def write_file(path):
    """A CSV file as models make them: a row a minute, values and scores of all their digits."""
    numbers, start = random.Random(1), datetime.datetime(2014, 1, 1)
    with path.open("w") as file:
        file.write("timestamp,value,anomaly_score,raw_score\n")
        for i in range(ROWS):
            raw = numbers.random()
            file.write(f"{start + datetime.timedelta(minutes=i)},{100 * numbers.random()!r},"
                       f"{raw if i % 50 == 0 else 0.0301029996659!r},{raw!r}\n")


def measure_child(server, process, begin):
    """CPU seconds of the server and of a child from `begin` (its own CPU seconds then) to its end, and its output."""
    before = bench.cpu_seconds(server.process.pid)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode != 0:
        raise SystemExit(f"{process.args}: exit {process.returncode}")
    return bench.cpu_seconds(server.process.pid) - before + usage.ru_utime + usage.ru_stime - begin, out


def run_import(server, file, number):
    process = subprocess.Popen([harness.PROGRAM, "import", "--connect", server.ready["clients"], "--name",
                                f"bench{number}", str(file)], stdout=subprocess.PIPE, text=True)
    return ROWS / measure_child(server, process, 0)[0]


def appenders(server, mode, count, last):
    return subprocess.Popen([bench.tool("bench_appenders"), mode, str(count), server.ready["clients"], str(last)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_batches(server):
    process = appenders(server, "batches", ROWS, BATCH_BYTES)
    process.stdout.readline()  # the batches are made
    begin = bench.cpu_seconds(process.pid)
    process.stdin.close()
    return ROWS / measure_child(server, process, begin)[0]


def run_appends(server, seconds):
    process = appenders(server, "rows", CLIENTS, seconds)
    out = process.communicate()[0]
    if process.returncode != 0:
        raise SystemExit("the appenders failed")
    return float(re.search(r"rate=(\S+)", out).group(1))


def run_sqlite(folder):
    """Rows a second of CPU time that sqlite3 alone inserts, durably, a transaction a batch."""
    path = folder / "reference.db"
    rows = [(1, i, 1388534400 + 60 * i, i % 1009 / 7, 0.0301029996659, i % 101 / 101) for i in range(1, ROWS // 4)]
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE row (metric, id, time, "
                           "value, anomaly, raw, PRIMARY KEY (metric, id)) WITHOUT ROWID;")
    begin = time.process_time()
    for at in range(0, len(rows), BATCH_ROWS):
        database.execute("BEGIN")
        database.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?)", rows[at:at + BATCH_ROWS])
        database.execute("COMMIT")
    rate = len(rows) / (time.process_time() - begin)
    database.close()
    path.unlink()
    return rate


def run_syncs(folder, seconds):
    """fdatasyncs a second, each after a page was appended."""
    path, count = folder / "reference.sync", 0
    with path.open("wb", buffering=0) as file:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / seconds


def run_all(folder, file, number, seconds):
    """One run of everything: {name: (value, reference)}."""
    with tempfile.TemporaryDirectory(dir=folder) as data, harness.up(data) as server:
        sqlite, syncs = run_sqlite(folder), run_syncs(folder, seconds / 4)
        return {"import": (run_import(server, file, number), sqlite), "batches": (run_batches(server), sqlite),
                "appends": (run_appends(server, seconds), syncs)}


def figures(runs):
    names = {"import": ("import of a CSV file", "rows/CPU s"), "batches": ("batches of 1 MiB", "rows/CPU s"),
             "appends": (f"durable appends of one row, {CLIENTS} clients", "rows/s")}
    for key, (name, unit) in names.items():
        value = statistics.median(run[key][0] for run in runs)
        yield {"name": name, "value": round(value), "unit": unit,
               "reference": round(statistics.median(run[key][1] for run in runs)),
               "ratio": round(statistics.median(run[key][0] / run[key][1] for run in runs), 2), "goal": GOALS[key],
               "ok": value >= GOALS[key]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of appends of one row, a run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as name:
        folder = pathlib.Path(name)
        write_file(folder / "rows.csv")
        runs = [run_all(folder, folder / "rows.csv", i, options.seconds) for i in range(options.repeats)]
    if options.json:
        print(json.dumps(list(figures(runs)), indent=2))
        return
    print(f"medians of {options.repeats}")
    for figure in figures(runs):
        print(f"  {figure['name']:45} {figure['value']:9,} {figure['unit']:10} reference {figure['reference']:9,} "
              f"ratio {figure['ratio']:5.2f}  goal {figure['goal']:7,} {'ok' if figure['ok'] else 'MISSED'}")


if __name__ == "__main__":
    main()
