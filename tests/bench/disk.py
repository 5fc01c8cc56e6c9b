"""Bytes on disk for each row, of real files and of generated rows; against the same rows clustered in SQLite, and
against gzip of the files' own columns and of the packed stream."""
import csv
import subprocess
import tempfile

import bench
import datasets
import harness


def import_nab(folder):
    """Loads the files as anyone would, over the bus, and stops the writer."""
    files = sorted(harness.NAB.rglob("*.csv"))
    with harness.up(folder / "data") as program:
        harness.run("import", "--connect", program.ready["clients"], *files, timeout=1800)
    (folder / "data" / "metricmq.db").rename(folder / "metricmq.db")
    bench.run([bench.tool("bench_clustered"), "copy", folder / "rows.db", f"sqlite:{folder}/metricmq.db"])


def columns():
    """Time, value and scores of the files as text: (text, rows)."""
    lines = []
    for path in sorted(harness.NAB.rglob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            lines += [",".join((row["timestamp"], row["value"], row["anomaly_score"], row["raw_score"]))
                      for row in csv.DictReader(file)]
    return "\n".join(lines).encode(), len(lines)


def gzipped(data):
    return len(subprocess.run(["gzip", "-6", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout)


def packed_stream(store):
    """The msgpack stream of a whole store, by curl."""
    with bench.up(store) as program, tempfile.NamedTemporaryFile() as file:
        bench.run(["curl", "-sS", "--fail", "-o", file.name, "-H", bench.OCTETS,
                   program.ready["http"].rstrip("/") + "/_models/data"])
        return file.read()


def main(options, report):
    hundred, rows = datasets.store(*options.sizes.hundred), datasets.clustered(*options.sizes.hundred)
    report.compare("disk_generated", "bytes/row", [hundred.size() / hundred.total], [rows.size() / rows.total])
    if not harness.NAB.is_dir():
        report.show(f"  left out: no NAB files in {harness.NAB}")
        return
    folder = datasets.made("nab", import_nab)
    text, count = columns()
    nab = datasets.Set(1, count, folder / "metricmq.db")
    theirs = datasets.Set(1, count, folder / "rows.db").size() / count
    report.compare("disk_nab", "bytes/row", [nab.size() / count], [theirs], "value <= 6")
    report.compare("disk_nab_csv_gzip", "bytes/row", [nab.size() / count], [gzipped(text) / count])
    report.compare("disk_nab_msgpack_gzip", "bytes/row", [nab.size() / count], [gzipped(packed_stream(nab)) / count])
