"""Archives of feedback dumps, built in one process: against the compressor alone on the same text in memory, and
against libarchive with its own gzip."""
import contextlib
import os
import sqlite3
import tarfile
import tempfile
import zlib

import bench
import datasets
import disk
import harness

PINNED = False  # three threads work on one archive
MIB = 1 << 20
TEXT = "metric_data.csv"


def build(store, uid, path, level=1):
    return bench.measure("bench_dump", "build", store.url, uid, level, path)


def unpack(path, folder):
    bench.run(["tar", "-xzf", path, "-C", folder, TEXT])
    return os.path.join(folder, TEXT)


def size_of(path, level):
    return bench.measure("bench_dump", "bare", level, path)["size"]


def measure(options, store, small, folder):
    path, other = os.path.join(folder, "a.tar.gz"), os.path.join(folder, "b.tar.gz")
    uid = store.uids[0]
    build(store, uid, path)
    text = unpack(path, folder)
    samples = bench.rounds(options.repeats, {
        "build": lambda: build(store, uid, path),
        "bare": lambda: bench.measure("bench_dump", "bare", 1, text),
        "sums": lambda: bench.measure("bench_dump", "sums", path),
        "small": lambda: build(small, small.uids[0], other),
    })
    # one is enough of what takes ten times as long
    libarchive = bench.measure("bench_dump", "libarchive", text, other)
    return samples, libarchive, os.path.getsize(text), size_of(text, 6)


def nab_sizes(folder):
    """The archives of all NAB files, and what zlib's level 6 makes of the same texts."""
    nab = datasets.Set(0, 0, datasets.made("nab", disk.import_nab) / "metricmq.db")
    path, ours, theirs = os.path.join(folder, "nab.tar.gz"), 0, 0
    with contextlib.closing(sqlite3.connect(nab.path)) as store:
        uids = [uid for uid, in store.execute("SELECT uid FROM metric")]
    for uid in uids:
        ours += build(nab, uid, path)["size"]
        with tarfile.open(path) as archive:
            deflate = zlib.compressobj(6, wbits=31)
            for member in archive:
                theirs += len(deflate.compress(archive.extractfile(member).read()))
        theirs += len(deflate.flush())
    return ours, theirs


def compare(report, samples, libarchive, text, slow):
    speed = {name: bench.values(samples[name], lambda sample: text / sample["wall"] / 1e6)
             for name in ("build", "bare")}
    cost = {name: bench.values(many, lambda sample: sample["cpu"]) for name, many in samples.items()}
    peaks = bench.values(samples["build"], lambda sample: sample["peak"] / MIB)
    report.compare("dump_build", "MB text/s", speed["build"], speed["bare"], "ratio >= 0.85")
    report.compare("dump_build_cpu", "s CPU", cost["build"], cost["bare"])
    report.compare("dump_libarchive", "MB text/s", speed["build"],
                   [text / libarchive["wall"] / 1e6] * len(speed["build"]), "ratio >= 3")
    report.compare("dump_sums", "s CPU", cost["sums"], cost["build"])
    report.compare("dump_size", "MB", [samples["build"][0]["size"] / 1e6], [slow / 1e6], "ratio <= 1.15")
    report.value("dump_memory", "MiB", peaks, "value <= 64")
    report.value("dump_small", "s CPU", cost["small"], "value <= 0.15")


def main(options, report):
    store, small = datasets.store(*options.sizes.one).warm(), datasets.store(*options.sizes.dump_small).warm()
    with tempfile.TemporaryDirectory(prefix="metricmq-bench-") as folder:
        samples, libarchive, text, slow = measure(options, store, small, folder)
        report.show(f"  {text / 1e6:,.0f} MB of text of {store.total:,} rows")
        compare(report, samples, libarchive, text, slow)
        if not harness.NAB.is_dir():
            report.show(f"  left out: no NAB files in {harness.NAB}")
            return
        ours, theirs = nab_sizes(folder)
        report.compare("dump_size_nab", "MB", [ours / 1e6], [theirs / 1e6], "ratio <= 1.15")
