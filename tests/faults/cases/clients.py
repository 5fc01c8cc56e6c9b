"""Clients that die, read slowly or not at all, or share a name."""
import contextlib
import os
import signal
import statistics
import subprocess
import threading
import time

import msgpack

import bus
import harness
import mdp
import zmtp
from catalogue import case
from history import Broken, History, Stream
from stand import Data, Stand

MIB = 1 << 20


@case("F5", "kill -9 a client in the middle of a stream of 10 M rows (quick: 200,000; sanitizers: 2 M)", quick=5, full=40, long=True)
def client_is_killed(trial):
    """At most a page more is read for it; the broker's memory does not grow."""
    rows = 200_000 if trial.quick else 2_000_000 if harness.SLOW else 10_000_000
    metrics = 20 if trial.quick else 100
    with harness.up(trial.folder / "data") as program:
        harness.run("demo", "--connect", program.ready["clients"], "--metrics", metrics, "--rows", rows // metrics,
                    "--seed", trial.random.randrange(1 << 30))
    with Stand(None) as stand:
        stand.add_worker(args=("--store", f"sqlite:{trial.folder}/data/metricmq.db"))
        stand.wait_workers(1)
        settled = None
        for run in range(trial.runs):
            more = kill_a_client(trial, stand)
            trial.sample("KiB more read for it", more / 1024)
            if more > MIB + 300 * 1024:  # a page, and the rest of a PARTIAL
                raise Broken(f"{more} bytes were read for a client that was dead")
            if run == trial.runs // 4:
                settled = stand.broker.program.rss()
        grown = (stand.broker.program.rss() - settled) / MIB
        trial.note(f"the broker grew by {grown:.1f} MiB")
        if grown > 8 and not harness.SLOW:
            raise Broken(f"the broker grew by {grown:.1f} MiB")


def kill_a_client(trial, stand):
    """Bytes that the worker sent for a client after it had been killed."""
    reader = subprocess.Popen([harness.PROGRAM, "query", "--connect", stand.clients, "--anomaly", "-1", "--format",
                               "msgpack"], stdout=subprocess.PIPE)
    left = trial.random.randrange(100_000, 8_000_000)
    while left > 0 and (data := os.read(reader.stdout.fileno(), 65536)):
        left -= len(data)
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    reader.stdout.close()
    before = stand.service()["bytes_out"]
    harness.wait_until(lambda: stand.service()["busy"] == 0, what="the end of the page")
    return stand.service()["bytes_out"] - before


class SlowReader:
    """Asks for `pages` pages at once and reads when told to."""

    def __init__(self, stand, entry, pages):
        self.raw = zmtp.Raw(stand.clients, receive_buffer=4096)
        self.history = History("slow reader")
        self.wanted = entry.wanted
        self.streams = {}
        for id in range(pages):
            self.history.asked(id)
            self.streams[id] = Stream(f"page {id}", entry.wanted)
            self.raw.send([mdp.CLIENT, mdp.REQUEST_OF_CLIENT, b"metric.query",
                           msgpack.packb({**entry.body, "id": id, "max_bytes": MIB, "timeout": 120_000})])
        self.left = set(self.streams)

    def read(self, size):
        for _, command, _, packed, *payload in self.raw.read(size):
            header = msgpack.unpackb(packed)
            final = command == mdp.FINAL_OF_CLIENT
            self.history.answered(header["id"], final, header)
            for data in payload:
                self.streams[header["id"]].add(data)
            if final:
                self.left.discard(header["id"])

    def read_all(self):
        while self.left:
            self.read(1 << 20)
        self.history.check()
        return self.history.counts()


def dribble(readers, stopping):
    """1 KiB a second each."""
    while not stopping.wait(1):
        for reader in readers:
            reader.read(1024)


def latencies(stand, entry, seconds):
    """Of a stock client's small queries, one after the other."""
    taken = []
    with bus.Bus(stand.clients) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            if client.stream(entry.body) != entry.wanted:
                raise Broken("a wrong answer")
            taken.append(time.monotonic() - began)
    return statistics.quantiles(taken, n=100)[98] * 1000


@case("F6", "10 clients that read 1 KiB/s, 10 that never read, 2 that ask for 60 pages and read none")
def clients_are_slow(trial):
    """At most two pages are held for each; others are served; nothing is lost in silence."""
    data = Data(trial.folder, trial.random)
    page, small = data.entry(anomaly=-1), data.short_plan()[0]
    with Stand(data, workers=2) as stand, contextlib.ExitStack() as stack:
        p99_before = latencies(stand, small, 2)
        start = stand.broker.program.rss()
        slow = [SlowReader(stand, page, 1) for _ in range(20)]
        stopping = threading.Event()
        dribbler = threading.Thread(target=dribble, args=(slow[:10], stopping))
        dribbler.start()
        stack.callback(dribbler.join)
        stack.callback(stopping.set)
        p99 = latencies(stand, small, 4)
        check_held(trial, stand, start, "a slow reader", 20, 2 * MIB)
        start = stand.broker.program.rss()
        greedy = [SlowReader(stand, page, 60) for _ in range(2)]
        p99 = max(p99, latencies(stand, small, 4 if trial.quick else 34))
        check_held(trial, stand, start, "a greedy reader", 2, 48 * MIB)
        trial.note(f"p99 of others {p99_before:.1f} ms before, {p99:.1f} ms beside them")
        if p99 > 1000 and not harness.SLOW:  # other cases run beside this one
            raise Broken(f"others wait {p99:.0f} ms")
        stack.close()
        statuses = {}
        for reader in slow + greedy:
            for status, count in reader.read_all().items():
                statuses[status] = statuses.get(status, 0) + count
        trial.note("pages read in the end: " + ", ".join(f"{count} with {status}" for status, count in statuses.items()))
        if set(statuses) - {200, 503} or (trial.quick and statuses.get(503, 0) > 2 * 60):
            raise Broken(f"the slow readers were answered {statuses}")


def check_held(trial, stand, start, who, count, most):
    held = (stand.broker.program.rss() - start) / count
    trial.note(f"{held / MIB:.2f} MiB held for {who}")
    if held > most and not harness.SLOW:
        raise Broken(f"{held / MIB:.1f} MiB are held for {who}")


@case("F20", "two peers with one routing id")
def peers_share_an_id(trial):
    """Neither sees the other's replies, whether clients or workers."""
    with Stand() as stand, mdp.Worker(stand.worker_endpoint, b"echo"), \
            mdp.Client(stand.clients, identity=b"twin") as first:
        stand.wait_workers(1, "echo")
        first.call(b"echo", b"first 0")
        with mdp.Client(stand.clients, identity=b"twin") as second:
            for number in range(1, 200):
                for name, twin in ((b"first", first), (b"second", second)):
                    twin.send(b"echo", b"%s %d" % (name, number))
            seen = [twin_answers(first, b"first"), twin_answers(second, b"second")]
        trial.note(f"{seen[0]} and {seen[1]} answers, each its own")
        if seen[0] != 199:
            raise Broken(f"the first was answered {seen[0]} times of 199")
    with Stand() as stand, mdp.Client(stand.clients) as client, mdp.Client(stand.worker_endpoint, b"w") as one:
        one.socket.send_multipart([mdp.WORKER, mdp.READY, b"twins", b"8"])
        stand.wait_workers(1, "twins")  # the id is its own from now on: whoever connects first has it
        with mdp.Client(stand.worker_endpoint, b"w") as two:
            two.socket.send_multipart([mdp.WORKER, mdp.READY, b"twins", b"8"])
            client.send(b"twins", b"x")
            if not one.socket.poll(10_000) or two.socket.poll(500) or stand.service("twins")["workers"] != 1:
                raise Broken("a worker took what was the other's")


def twin_answers(twin, name):
    count = 0
    while twin.socket.poll(1500):
        body = twin.socket.recv_multipart()[3]
        if not body.startswith(name + b" "):
            raise Broken(f"{name} got {body}")
        count += 1
    return count
