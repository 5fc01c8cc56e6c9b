"""A broker, metrics of known rows and feedback workers, each a process of its own, for tests of feedback."""
import ctypes
import hashlib
import json
import os
import pathlib
import time

import msgpack

import bus
import dumps
import harness

LIBRARY = os.environ.get("METRICMQ_KILL_AT") or os.path.join(os.path.dirname(harness.PROGRAM), "tests", "libkill_at.so")
SLOWER = 4 if harness.SLOW else 1


def preload(**settings):
    """The environment under which a process runs with tools/kill_at.c."""
    environment = {"LD_PRELOAD": LIBRARY, **{name: str(value) for name, value in settings.items()}}
    if "asan" in harness.PROGRAM:  # else its runtime does not like that we come before it
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return environment


def exchange(one, other):
    """Two names change places, without a moment in which either is missing."""
    at_fdcwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_fdcwd, bytes(one), at_fdcwd, bytes(other), rename_exchange) != 0:
        raise OSError(ctypes.get_errno(), f"renameat2 {one} {other}")


def create_metric(client, name):
    client.call("metric.write", {"op": "create", "metric": {"uid": name, "datasource": "custom", "name": name}})


class FileStore:
    """The folder of a file: target, as tests look into it."""

    address = "none"
    environment = {}

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.options = ["--upload", f"file:{folder}"]

    def objects(self):
        """{key: bytes} of all that is there, half files too."""
        return {str(path.relative_to(self.folder)): path.read_bytes()
                for path in self.folder.rglob("*") if path.is_file() or path.is_symlink()}

    def left_over(self):
        """What deliveries have left half done."""
        return [str(path) for path in self.folder.rglob(".*")]

    def set_well(self, well):
        """Not well: a file is in the folder's place, so that nothing can be delivered."""
        aside = self.folder.with_name(self.folder.name + "-aside")
        if not aside.exists():
            self.folder.mkdir(exist_ok=True)
            aside.write_text("in the way")
        if well != self.folder.is_dir():
            exchange(aside, self.folder)

    def check_new(self, seen):
        """Whatever appeared under an object's name since the last time must be whole at once. Adds it to `seen`."""
        for path in self.folder.rglob("*.tar.gz"):
            if path not in seen:
                seen.add(path)
                dumps.summary(path.read_bytes())


class S3Store:
    """A bucket of an engine (s3/engines.py) as a target, as tests look into it; made unless make=False.

    endpoint: where the target is to find it, if not at the engine's own, e.g. a proxy's."""

    def __init__(self, engine, bucket, prefix="", make=True, endpoint=None):
        self.engine, self.bucket, self.prefix = engine, bucket, prefix
        self.client = engine.client()
        endpoint = endpoint or engine.endpoint
        self.options = ["--upload", f"s3://{bucket}/{prefix}".rstrip("/"), "--s3-endpoint", endpoint,
                        "--s3-region", "us-east-1", "--s3-path-style"]
        self.environment = engine.environment()
        self.address = endpoint.split("://")[1]
        if make:
            self.client.make_bucket(bucket)

    def objects(self):
        """{key: bytes} of the whole bucket."""
        return self.client.get_all(self.bucket, self.client.keys(self.bucket))

    def left_over(self):
        """Multipart uploads that were left."""
        return self.client.uploads(self.bucket)

    def set_well(self, well):
        """It is always well, unless a test has it otherwise."""

    def check_new(self, seen):
        """A store shows nothing half."""


def check_objects(store, accepted, wanted):
    """The store holds the objects of accepted, {key: (uid, extra)}, each once and right, and nothing else.

    wanted: SHA-256 of metric_data.csv by uid."""
    objects = store.objects()
    lost, strange = accepted.keys() - objects.keys(), objects.keys() - accepted.keys()
    assert not lost and not strange, f"lost: {sorted(lost)[:5]}, strange: {sorted(strange)[:5]}"
    assert store.left_over() == [], store.left_over()[:5]
    for key, (uid, extra) in accepted.items():
        about, rows = dumps.summary(objects[key])
        about = {name: value for name, value in about.items() if name not in ("metric", "server_id")}
        assert about == extra, f"{key} holds {json.dumps(about)[:300]}"
        assert rows == wanted[uid], f"{key} does not hold the rows of {uid}"


class House:
    """`with House(folder, random, store) as house`; store: FileStore, or one with the same methods."""

    def __init__(self, folder, random, store, env=None):
        self.folder, self.random, self.store = folder, random, store
        self.data = folder / "data"
        self.env = {"METRICMQ_LOG_LEVEL": "warn", **(env or {})}
        self.wanted = {}  # SHA-256 of metric_data.csv, by uid
        self.broker = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        self.endpoint = self.broker.ready["clients"]
        self.addresses = {"bus": self.broker.ready["workers"].removeprefix("tcp://"), "store": store.address}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.broker.__exit__(*exception)

    def load(self, **counts):
        """A metric each, of so many rows; their uids."""
        uids = []
        with self.role("write"), bus.Bus(self.endpoint) as client:
            for name, count in counts.items():
                rows = list(dumps.source_rows(self.random, count))
                if rows:
                    dumps.write_csv(self.folder / f"{name}.csv", rows, True)
                    done = harness.run("import", "--connect", self.endpoint, self.folder / f"{name}.csv")
                    uids.append(done.out.split()[0])
                else:
                    create_metric(client, name)
                    uids.append(name)
                self.wanted[uids[-1]] = dumps.digest(dumps.wanted_csv(uids[-1], rows, True))
        return uids

    def load_great(self, rows=30_000, chunks=68):
        """A metric "great", of random digits, whose archive has more than 64 MiB: the same rows again and again, which
        are too far from each other for a compressor to see."""
        source = [(1400000000 + number, self.random.uniform(-1e9, 1e9), self.random.random(), self.random.random())
                  for number in range(rows)]
        packed = b"".join(map(msgpack.Packer().pack, source))
        with self.role("write"), bus.Bus(self.endpoint) as client:
            create_metric(client, "great")
            for _ in range(chunks):
                client.call("metric.write", {"op": "append", "uid": "great", "rows": packed})
        dated = [(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(when)), *rest) for when, *rest in source]
        texts = [line.split(",", 2)[2] for line in dumps.wanted_csv("great", dated, True).decode().split("\r\n")[1:-1]]
        digest = hashlib.sha256(dumps.HEADER)
        for first in range(1, rows * chunks, rows):
            digest.update("".join([f"great,{number},{text}\r\n" for number, text in enumerate(texts, first)]).encode())
        self.wanted["great"] = digest.hexdigest()
        return "great"

    def role(self, kind, *options, env=None, **others):
        """A worker, ready unless wait=False."""
        return harness.Program("worker", kind, "--connect", self.broker.ready["workers"], "--data", self.data,
                               *options, env={**self.env, **(env or {})}, **others)

    def worker(self, *options, env=None, **others):
        """A feedback worker."""
        environment = {**self.store.environment, **(env or {})}
        return self.role("feedback", *self.store.options, *options, env=environment, **others)

    def ask(self, uid, number=0, timeout_ms=20000, extra=None):
        """(status, the key or the error's sentence) of one request."""
        body = {"op": "dump", "uid": uid, "created": 1700000000 + number, "extra": {"number": number, **(extra or {})},
                "timeout": timeout_ms * SLOWER}
        with bus.Bus(self.endpoint, timeout=timeout_ms * SLOWER / 1000 + 5) as client:
            try:
                header, payload = client.call("metric.feedback", body)
            except bus.Refused as refused:
                return refused.status, refused.error
        return header["status"], msgpack.unpackb(payload)["key"]

    def ask_until(self, uid, number=0, wanted=(200,), timeout_s=30, **options):
        """Asks the same again until the answer's status is wanted; the key."""
        end = time.monotonic() + timeout_s * SLOWER
        while True:
            status, text = self.ask(uid, number, **options)
            if status in wanted:
                return text
            assert status in (202, 500, 503, 504), (status, text)
            assert time.monotonic() < end, f"still {status}: {text}"
            time.sleep(0.02)  # as a client does that is told to come back

    def counts(self):
        with bus.Bus(self.endpoint) as client:
            return msgpack.unpackb(client.call("metric.feedback", {"op": "spool"})[1])

    def status(self):
        """What `metricmq status` shows."""
        return harness.run("status", "--connect", self.endpoint, "--format", "json").out

    def spooled(self):
        return sorted(path.name for path in (self.data / "spool").iterdir())

    def jobs(self):
        """The folders of jobs that wait."""
        return [path for path in (self.data / "spool").iterdir() if path.name != "quarantine" and path.name[0] != "."]

    def wait_empty(self, timeout_s=60):
        """Until nothing waits or is left; nothing may have been put aside."""
        harness.wait_until(lambda: self.spooled() == ["quarantine"], timeout_s * SLOWER, "an empty spool")
        assert list((self.data / "spool" / "quarantine").iterdir()) == []

    def check(self, accepted):
        """The store holds the objects of accepted, {key: (uid, extra)}, each once and right, and nothing else."""
        check_objects(self.store, accepted, self.wanted)
