"""`metricmq migrate --from --to` of 10 million rows to PostgreSQL (fsync is on) and back: copying, a run that finds nothing
to do, and finishing, which compares both stores and decodes all of the copy."""
import pathlib
import tempfile

import bench
import datasets
import harness
import postgres

PINNED = False  # PostgreSQL's processes have the other CPU
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "fsync": "on"}


def run(source, target, *args):
    """Seconds that it takes."""
    return bench.run([harness.PROGRAM, "migrate", "--from", source, "--to", target, *args])["wall"]


def copy(source, target):
    return {"copy": run(source, target), "idle": run(source, target), "finish": run(source, target, "--finish")}


def over_and_back(server, source, round_number):
    """Each round has a database and a file of its own."""
    database = server.url(f"round{round_number}")
    server.sql("CHECKPOINT")
    with tempfile.TemporaryDirectory(prefix="migrate-", dir=datasets.ROOT) as folder:
        over = copy(source, database)
        back = copy(database, f"sqlite:{pathlib.Path(folder) / 'metricmq.db'}")
    return over, back


def main(options, report):
    hundred = datasets.store(*options.sizes.hundred).warm()
    with postgres.Server(SETTINGS) as server:
        rounds = [over_and_back(server, hundred.url, number) for number in range(options.repeats)]
    for name, way in ("migrate_to_postgresql", 0), ("migrate_back", 1):
        times = [taken[way] for taken in rounds]
        report.value(name, "rows/s", [hundred.total / one["copy"] for one in times])
        report.value(f"{name}_bytes", "MB/s", [hundred.size() / 1e6 / one["copy"] for one in times])
        report.value(f"{name}_idle", "s", [one["idle"] for one in times])
        report.value(f"{name}_finish", "s", [one["finish"] for one in times])
