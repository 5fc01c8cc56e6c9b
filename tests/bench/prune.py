"""Half of a store's rows go while readers ask: how fast, what the readers see of it, and what the file is afterwards.

Readers ask on a schedule (an open loop), for last values and days of random metrics; what they see during the prune, and
while the pages are given back after it, is held against what they saw just before, in the same process. Most of the rows
go with --fast, while nobody asks. Each round has a fresh copy of the store."""
import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import time

import bench
import datasets
import harness

PINNED = False  # readers, the store's writer and its readers have all CPUs, as they would
RATE = 400  # requests a second
KEPT_PAGES = 512  # free ones, which a store keeps


def readers(program, seconds):
    report = bench.load(*bench.connected(program), "--mix", "small=9,day=1", "--clients", 8, "--rate", RATE,
                        "--duration", f"{seconds * 1000:.0f}ms", "--warmup", "100ms", "--seed", 1)
    total = report["total"]
    if sum(total["errors"].values()) > 0:
        raise bench.Failed(f"readers got errors: {total['errors']}")
    return total["latency_ms"]["p99"]


@contextlib.contextmanager
def copy_of(store):
    with tempfile.TemporaryDirectory(prefix="prune-", dir=datasets.ROOT) as folder:
        path = pathlib.Path(folder) / "metricmq.db"
        shutil.copyfile(store.path, path)
        os.sync()  # the kernel writes nothing of it while we measure
        yield datasets.Set(store.metrics, store.rows, path).warm()


def begin(program, before, *args):
    return subprocess.Popen([harness.PROGRAM, "prune", "--connect", program.ready["clients"], "--before", str(before),
                             *args], stdout=subprocess.PIPE, text=True)


def end(process):
    out = process.communicate(timeout=bench.DEADLINE_S)[0]
    if process.returncode not in (0, 1):
        raise bench.Failed(f"prune: exit {process.returncode}")
    return int(out.split(" rows")[0].split()[-1])


def file_size(store):
    return store.path.stat().st_size


def free_pages(store):
    with contextlib.closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as db:
        return db.execute("PRAGMA freelist_count").fetchone()[0]


def settle(store):
    """Waits until the pages are given back, but for those that the store keeps; the file's size then, without the log,
    which is bounded."""
    start = time.monotonic()
    while free_pages(store) > KEPT_PAGES:
        if time.monotonic() - start > bench.DEADLINE_S:
            raise bench.Failed("the pages are not given back")
        time.sleep(0.2)
    return time.monotonic() - start


def watched(program, before, seconds):
    """A prune that readers do not notice, for a while; then one that takes what there is, for the rest."""
    process = begin(program, before)
    start = time.monotonic()
    p99 = readers(program, seconds)
    process.terminate()  # it ends behind a piece
    slow, took = end(process), time.monotonic() - start
    start = time.monotonic()
    return {"p99": p99, "slow_rows": slow, "slow": slow / took,
            "rows": slow + end(begin(program, before, "--fast")), "wall": time.monotonic() - start}


def run(store, seconds, settles):
    """One round; the first waits until all pages are given back, and has the sizes."""
    middle = int(sum(store.span) / 2)
    with copy_of(store) as copy:
        with bench.up(copy) as program:
            readers(program, seconds / 2)
            sample = {"before": readers(program, seconds), "size_before": file_size(copy)}
            sample.update(watched(program, middle, seconds))
            sample["after"] = readers(program, seconds)
            if end(begin(program, middle, "--dry-run")) != 0:
                raise bench.Failed("rows were left")
            if settles:
                sample["settled"] = settle(copy)
        sample["size_after"] = file_size(copy)
        return {**sample, "share": sample["rows"] / store.total,
                "fast": (sample["rows"] - sample["slow_rows"]) / sample["wall"]}


def backup(store):
    """A backup with its check, of a store that nobody writes."""
    with tempfile.TemporaryDirectory(prefix="backup-", dir=datasets.ROOT) as folder:
        done = bench.run([harness.PROGRAM, "backup", "--store", store.url, f"{folder}/backup.db"])
        return {"wall": done["wall"], "cpu": done["cpu"]}


def main(options, report):
    seconds = options.seconds or (0.3 if options.quick else 8)
    store = datasets.store(*options.sizes.prune).warm()
    samples = [run(store, seconds, number == 0) for number in range(min(options.repeats, 3))]
    first = samples[0]
    report.show(f"  {first['rows']:,} of {store.total:,} rows go; the file was {first['size_before'] / 2**20:,.0f} MiB and is"
                f" {first['size_after'] / 2**20:,.0f} MiB")
    before = bench.values(samples, lambda sample: sample["before"])
    report.compare("prune_p99", "ms", bench.values(samples, lambda sample: sample["p99"]), before, "ratio <= 1.5")
    report.compare("prune_after_p99", "ms", bench.values(samples, lambda sample: sample["after"]), before, "ratio <= 1.5")
    report.compare("prune_space", "of the file", [first["size_after"] / first["size_before"]], [1 - first["share"]],
                   "ratio <= 1.1")
    report.value("prune_rows", "Mrows/s", bench.values(samples, lambda sample: sample["slow"] / 1e6))
    report.value("prune_rows_fast", "Mrows/s", bench.values(samples, lambda sample: sample["fast"] / 1e6))
    report.value("prune_settled", "s", [first["settled"]])
    backups = bench.rounds(min(options.repeats, 3), {"backup": lambda: backup(store)})["backup"]
    report.value("backup_wall", "Mrows/s", bench.values(backups, lambda sample: store.total / sample["wall"] / 1e6))
    report.value("backup_cpu", "Mrows/CPU s", bench.values(backups, lambda sample: store.total / sample["cpu"] / 1e6))
