"""Partitions, half-open connections, delay and stalls."""
import contextlib
import os
import subprocess
import threading
import time

import harness
from catalogue import NotBuilt, case
from history import Broken
from proxy import Proxy
from stand import SLOWER, Data, Stand
from cases.workers import finish

NOTICED_S = 4.5 * SLOWER  # liveness is 3 s, looked at once a second
RETURNED_S = 8.0 * SLOWER  # the longest of what a peer waits between two tries to connect


def check_noticed(trial, stand, worker, cut):
    """Both ends: the broker has no worker any more, the worker knows that the broker is silent."""
    harness.wait_until(lambda: stand.service()["workers"] == 0, NOTICED_S, "the broker to notice")
    trial.sample("noticed by the broker, s", time.monotonic() - cut)
    left = max(0.1, cut + NOTICED_S - time.monotonic())
    harness.wait_until(lambda: "the connection to the broker ends" in worker.log(), left, "the worker to notice")


def check_whole(trial, stand, data, healed):
    stand.wait_workers(1, timeout=RETURNED_S)
    trial.sample("registered again after, s", time.monotonic() - healed)
    entry = data.short_plan()[0]
    done = harness.run("query", entry.body["uid"], "--connect", stand.clients, "--anomaly", -1, "--limit",
                       entry.body["limit"], "--format", "msgpack")
    if done.stdout != entry.wanted:
        raise Broken("a wrong answer afterwards")


@case("F10", "worker and broker partitioned by a black hole, half-open TCP", quick=1, full=4, shard=1)
def worker_is_cut_off(trial):
    """Nothing passes and nobody is told: both notice within liveness."""
    data = Data(trial.folder, trial.random, rows=2000)
    with Stand(data) as stand, Proxy(stand.worker_endpoint) as proxy:
        worker = stand.add_worker(proxy.endpoint)
        stand.wait_workers(1)
        trial.moment(0, 1)
        cut = time.monotonic()
        proxy.both(swallow=True)
        check_noticed(trial, stand, worker, cut)
        refused = harness.run("query", "--connect", stand.clients, "--timeout", "1s", check=False)
        if refused.returncode != 1:
            raise Broken("a query was answered without a worker")
        trial.moment(0, 2 if trial.quick else 30)
        proxy.both(swallow=False)
        proxy.cut()  # what was swallowed is missing from those connections
        check_whole(trial, stand, data, time.monotonic())


@case("F10", "client and broker partitioned by a black hole", quick=1, full=4, shard=2)
def client_is_cut_off(trial):
    """A query ends with its timeout; one with more time ends whole once the network is back."""
    data = Data(trial.folder, trial.random, rows=2000)
    entry = data.entry(anomaly=-1)
    for _ in range(trial.runs):
        with Stand(data, workers=1) as stand, Proxy(stand.clients) as proxy:
            proxy.both(swallow=True)
            began = time.monotonic()
            refused = harness.run("query", "--connect", proxy.endpoint, "--timeout", "2s", check=False)
            took = time.monotonic() - began
            if refused.returncode != 1 or took > 3.5 * SLOWER:
                raise Broken(f"exit {refused.returncode} after {took:.1f} s")
            healer = threading.Timer(trial.random.uniform(0.1, 4), heal, [proxy])
            healer.start()
            done = harness.run("query", "--connect", proxy.endpoint, "--anomaly", -1, "--format", "msgpack")
            healer.join()
            if done.stdout != entry.wanted:
                raise Broken("a wrong answer afterwards")
            trial.sample("the query took, s", time.monotonic() - began - took)


def heal(proxy):
    proxy.both(swallow=False)
    proxy.cut()


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise NotBuilt(f"no network namespaces here: {done.stderr.strip()}")


@contextlib.contextmanager
def namespace(number):
    """(name, the host's address) of a network namespace with one cable to the host."""
    name, near, far, net = f"mmq{number}", f"mmqa{number}", f"mmqb{number}", f"10.213.{number % 250}"
    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        yield name, far, f"{net}.1"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@case("F10", "worker and broker in network namespaces, the cable pulled for 60 s", quick=0, full=2, shard=1)
def cable_is_pulled(trial):
    """Both notice within liveness; the worker registers again by itself."""
    data = Data(trial.folder, trial.random, rows=2000)
    with namespace(os.getpid() % 30000) as (name, far, host):
        with Stand(data, broker=("--bind-workers", f"tcp://{host}:*")) as stand:
            worker = stand.add_worker(prefix=("ip", "netns", "exec", name))
            stand.wait_workers(1)
            trial.moment(0, 1)
            cut = time.monotonic()
            ip("-n", name, "link", "set", far, "down")
            check_noticed(trial, stand, worker, cut)
            trial.moment(55, 57)
            ip("-n", name, "link", "set", far, "up")
            check_whole(trial, stand, data, time.monotonic())


@case("F11", "200 ms +- 50 ms delay each way, 5% of chunks stalled by 600 ms more", quick=1, full=2, shard=1)
def network_is_slow(trial):
    """No false disconnect at the defaults; what a TCP peer sees of loss and reordering are stalls."""
    data = Data(trial.folder, trial.random)
    with Stand(data) as stand, Proxy(stand.worker_endpoint, trial.random.random()) as near, \
            Proxy(stand.clients, trial.random.random()) as far:
        for proxy in (near, far):
            proxy.both(delay=0.2, jitter=0.05, stall_chance=0.05, stall=0.6)
        worker = stand.add_worker(near.endpoint)
        stand.wait_workers(1)
        stand.clients = far.endpoint
        readers = stand.readers(data.long_plan(), 3)
        stock = [stand.stock_reader(data.short_plan(), trial.random, patience=10)]
        trial.moment(*(6, 6) if trial.quick else (40, 40))
        finish(trial, readers, stock)
        if "worker gone" in stand.broker.log() or worker.log().count("msg=ready") != 1:
            raise Broken("a false disconnect:\n" + stand.broker.log() + worker.log())
