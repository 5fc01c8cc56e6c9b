"""Data sets: made once, from a seed, and kept between runs in a folder outside of the repository.

$METRICMQ_BENCH_DATA names the folder (default: metricmq-bench in the temporary folder). Its stores are made anew
when the code that makes them has changed: workers/store and what generates the rows.
"""
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile

import bench
import harness

ROOT = pathlib.Path(os.environ.get("METRICMQ_BENCH_DATA", pathlib.Path(tempfile.gettempdir()) / "metricmq-bench"))
SEED = 1
GENERATORS = ("generate.c", "fill.c", "clustered.c")


@functools.cache
def version():
    """Of the code that data sets depend on."""
    digest = hashlib.sha256()
    sources = sorted((harness.SOURCE / "workers" / "store").rglob("*.[ch]"))
    for path in [*sources, *(harness.SOURCE / "tests" / "bench" / name for name in GENERATORS)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def alone():
    """Holds the folder, one run at a time; what other versions of the code made is removed."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise bench.Failed(f"another run uses {ROOT}: wait for it, or name another METRICMQ_BENCH_DATA") from None
        for folder in ROOT.iterdir():
            if folder.is_dir() and folder.name != version():
                shutil.rmtree(folder)
        yield


def made(name, make):
    """The folder of a data set, made by make(folder) if it is not there; whole or not there."""
    folder = ROOT / version() / name
    if not folder.exists():
        making = folder.with_name(name + ".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        make(making)
        making.rename(folder)
    return folder


@dataclasses.dataclass
class Set:
    """So many metrics of so many rows, in a store, and uids as the generator names them."""
    metrics: int
    rows: int
    path: pathlib.Path

    @property
    def url(self):
        return f"sqlite:{self.path}"

    @property
    def total(self):
        return self.metrics * self.rows

    @functools.cached_property
    def uids(self):
        return bench.run([bench.tool("bench_fill"), "uids", self.metrics, SEED])["out"].split()

    @functools.cached_property
    def span(self):
        """About the first and the last time of the rows."""
        first = 1388534400
        return first, first + 300 * self.rows

    def size(self):
        return sum(path.stat().st_size for path in self.path.parent.glob(self.path.name + "*")
                   if not path.name.endswith(("-shm", ".lock")))

    def warm(self):
        """Brings the file into the page cache."""
        with open(self.path, "rb") as file:
            while file.read(1 << 24):
                pass
        return self


def store(metrics, rows):
    def make(folder):
        bench.run([bench.tool("bench_fill"), "store", f"sqlite:{folder}/metricmq.db", metrics, rows, SEED])

    return Set(metrics, rows, made(f"store-{metrics}x{rows}", make) / "metricmq.db")


def clustered(metrics, rows):
    """The same rows as SQLite's own; url is of no use."""
    def make(folder):
        bench.run([bench.tool("bench_clustered"), "fill", folder / "rows.db", metrics, rows, SEED])

    return Set(metrics, rows, made(f"clustered-{metrics}x{rows}", make) / "rows.db")
