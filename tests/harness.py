"""What tests of the real program share: start it, wait until it is ready, talk to it, stop it.

A stop fails the test on a sanitizer's report, a CHECK, an exit status that is not 0 or a process
left behind. Nothing here sleeps for a fixed time: everything waits until a condition holds.
"""
import contextlib
import hashlib
import http.client
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

PROGRAM = os.environ.get("METRICMQ_PROGRAM", "metricmq")
SOURCE = pathlib.Path(__file__).resolve().parent.parent
NAB = SOURCE.parent / "shared" / "nab"
SLOW = "asan" in PROGRAM or "tsan" in PROGRAM  # sanitizers cost a factor
if SLOW:  # and keep memory that was freed, which a broker would take for a stranger's
    os.environ.setdefault("METRICMQ_STRAY_MEMORY", "4G")
REPORT = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|CHECK failed")
# A loopback address that no other test has: a port that is free for a moment, because a broker of ours is away,
# is nobody else's.
POSTGRES = os.environ.get("METRICMQ_TEST_POSTGRES")  # of a server of this test alone, which has the stores (postgres.py)
LOCAL = f"tcp://127.{1 + (os.getpid() >> 16) % 127}.{(os.getpid() >> 8) % 256}.{os.getpid() % 255}:*"


def seed(default=None):
    """The run's seed: METRICMQ_SEED, else random; always printed."""
    value = int(os.environ.get("METRICMQ_SEED", default or random.SystemRandom().randrange(1 << 32)))
    print(f"seed: METRICMQ_SEED={value}", flush=True)
    return random.Random(value)


def wait_until(condition, timeout=20.0, what="the condition"):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {timeout} s")
        select.select([], [], [], 0.01)


def sqlite_only(why):
    """Marks a test or a class that is about files of SQLite: it does not run where stores are in PostgreSQL."""
    return unittest.skipIf(POSTGRES, f"only with SQLite: {why}")


def sql(url, *statements):
    """What psql prints."""
    done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", url, *(f"-c{text}" for text in statements)],
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(f"psql: {done.stderr}")
    return done.stdout.strip()


made = set()


def store_url(data):
    """Of the store that belongs to a data folder: its file, or its database, which is made if it is missing."""
    if not POSTGRES:
        return f"sqlite:{data}/metricmq.db"
    name = "test_" + hashlib.sha256(os.path.realpath(data).encode()).hexdigest()[:16]
    if name not in made:
        sql(POSTGRES, f"CREATE DATABASE {name}")
        made.add(name)
    return urllib.parse.urlsplit(POSTGRES)._replace(path="/" + name).geturl()


def environment(args, env):
    """Of `metricmq ARGS`: where its store is not in its data folder, it is told by METRICMQ_STORE."""
    told = {}
    if POSTGRES and "--data" in args and "--store" not in args:
        told["METRICMQ_STORE"] = store_url(args[args.index("--data") + 1])
    return {**os.environ, **told, **(env or {})}


def run(*args, check=True, env=None, timeout=300, input=None):
    """Runs `metricmq ARGS` to its end; stdout and stderr as text."""
    done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, timeout=timeout, input=input,
                          env=environment(args, env))
    done.out, done.err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if REPORT.search(done.err):
        raise AssertionError("report on stderr:\n" + done.err)
    if check and done.returncode != 0:
        raise AssertionError(f"metricmq {' '.join(map(str, args))}: exit {done.returncode}\n{done.err}")
    return done


class Program:
    """A long-running `metricmq ROLE ...`: ready when the constructor returns.

    `ready` holds the addresses of its ready line, e.g. ready["http"], ready["clients"].
    """

    def __init__(self, *args, env=None, timeout=30, wait=True, prefix=()):
        self.args = [*map(str, prefix), PROGRAM, *map(str, args)]
        self.log = tempfile.NamedTemporaryFile(prefix="metricmq-log-", mode="w+b")
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=self.log, env=environment(args, env))
        self.ready = {}
        if wait:
            self.wait_ready(timeout)

    def wait_ready(self, timeout=30):
        end = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise AssertionError(f"{self.args} was not ready in {timeout} s\n{self.errors()}")
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                self.process.wait()
                raise AssertionError(f"{self.args} ended: {self.process.returncode}\n{self.errors()}")
            line += byte
        self.line = line.decode().strip()
        self.ready = dict(re.findall(r"(\w+)=(\S+)", self.line))
        return self

    def errors(self):
        """All that it wrote on stderr so far."""
        return pathlib.Path(self.log.name).read_text("utf-8", "replace")

    def rss(self):
        """Resident bytes now."""
        return self.status("VmRSS")

    def peak(self):
        """Resident bytes at most so far."""
        return self.status("VmHWM")

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9, at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.close()

    def close(self):
        self.process.stdout.close()

    def stop(self, timeout=30, status=0):
        """SIGTERM; the exit status must be `status` and stderr clean."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"{self.args} did not stop in {timeout} s\n{self.errors()[-4000:]}")
        finally:
            self.close()
        if REPORT.search(self.errors()):
            raise AssertionError("report on stderr:\n" + self.errors())
        if self.process.returncode != status:
            raise AssertionError(f"{self.args}: exit {self.process.returncode}\n{self.errors()[-4000:]}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.returncode is not None:
            return
        if kind:
            print(self.errors()[-4000:], file=sys.stderr)
            self.kill()
        else:
            self.stop()


def require(*programs):
    """Skips where one is missing, and says so; where all tests are to run it is an error."""
    missing = [str(program) for program in programs if not shutil.which(program)]
    if missing:
        text = f"no {', '.join(missing)} here: ops/packages.sh names the packages"
        if os.environ.get("CI") or os.environ.get("METRICMQ_ENGINES"):
            raise AssertionError(text)
        print(f"SKIPPED, NOT TESTED: {text}", file=sys.stderr, flush=True)
        raise unittest.SkipTest(text)


def up(data, *args, **options):
    """`metricmq up` on free ports."""
    return Program("up", "--data", data, "--http", "127.0.0.1:0", "--bind", LOCAL, "--bind-workers", LOCAL,
                   *args, **options)


def http_get(program, path, headers=None, method="GET", body=None, timeout=120):
    """(status, headers, body) of one request to the adapter."""
    host = program.ready["http"].removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=timeout)) as connection:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def temporary_folder(case):
    """A folder that goes when all tests of the class are done."""
    holder = tempfile.TemporaryDirectory(prefix="metricmq-test-")
    case.addClassCleanup(holder.cleanup)
    return pathlib.Path(holder.name)


class Case(unittest.TestCase):
    """A test with a temporary folder in self.folder."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="metricmq-test-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)


def main():
    unittest.main(verbosity=2)
