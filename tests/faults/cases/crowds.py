"""Very many peers."""
import contextlib
import resource
import socket
import threading
import time

import msgpack

import bus
import harness
import mdp
import zmtp
from catalogue import case
from history import Broken
from stand import SLOWER, Data, Stand, stock_dealer

MIB = 1 << 20


def room_for(count):
    """As many descriptors as this process may have; how many of `count` connections that allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(count, hard - 500)


@case("F19", "10,000 idle TCP connections, then 10,000 idle peers (quick: 1,000)")
def idle_crowd(trial):
    """Established streams are unharmed; new clients are served. Then all leave at once: streams end whole."""
    count = room_for(1000 if trial.quick else 10_000)
    data = Data(trial.folder, trial.random, rows=3000)
    with Stand(data, workers=1) as stand:
        readers = stand.readers(data.long_plan(), 2, timeout_s=120, pause_ms=20, each=True)
        start = stand.broker.program.rss()
        for name, join in (("TCP connections", zmtp.connect), ("peers", zmtp.Raw)):
            with contextlib.ExitStack() as crowd:
                began = time.monotonic()
                for _ in range(count):
                    stranger = join(stand.clients)
                    crowd.callback(getattr(stranger, "close", None) or stranger.socket.close)
                ask_beside(stand, data.short_plan()[0], count)
                trial.note(f"{count} {name} in {time.monotonic() - began:.1f} s")
                wait_renewed(trial, readers, f"longest stream beside {name}, s")
            wait_renewed(trial, readers, f"longest stream as the {name} leave, s")
        trial.note(f"the broker grew by {(stand.broker.program.rss() - start) / MIB:.0f} MiB")
        if "all connections are cut" in stand.broker.log():
            raise Broken("the crowd's memory was taken for a stranger's")
        streams, _ = readers.finish()
        trial.count("streams beside them", streams)


def ask_beside(stand, entry, count):
    """A new client's query, and what mmi.stats shows of the crowd."""
    with bus.Bus(stand.clients) as client:
        if client.stream(entry.body) != entry.wanted:
            raise Broken("a wrong answer")
    shown = stand.stats()["client_connections"]  # those that say nothing are cut after 5 s
    if not count // 2 < shown < count + 20:
        raise Broken(f"mmi.stats shows {shown} connections of {count}")


def wait_renewed(trial, readers, name):
    """Until no stream from before is left; samples the longest since the last call."""
    now = time.monotonic()
    harness.wait_until(lambda: readers.renewed(now), 120 * SLOWER, "streams to end")
    ends, readers.ends = readers.ends, []
    trial.sample(name, max(end - begin for begin, end in ends))


@case("F19", "a broker with 256 descriptors, all used up")
def descriptors_run_out(trial):
    """No abort; established streams go on; others come back when descriptors are free; it is said and shown."""
    data = Data(trial.folder, trial.random, rows=3000)
    entry = data.short_plan()[0]
    with Stand(data, prefix=("prlimit", "--nofile=256:256")) as stand:
        stand.add_worker()
        stand.wait_workers(1)
        readers = stand.readers(data.long_plan(), 2, pause_ms=20, each=True)
        harness.wait_until(lambda: readers.ends, what="the streams to flow")
        for round in range(1, 4):
            crowd = [quiet_stranger(stand.clients) for _ in range(400)]
            wait_log(stand, "descriptors run out", round)
            full = time.monotonic()
            harness.wait_until(lambda: readers.renewed(full), 20 * SLOWER, "established streams to go on")
            for stranger in crowd:
                stranger.close()
            wait_log(stand, "there are descriptors again", round)
            if stand.stats()["descriptors_max"] != 256:
                raise Broken("mmi.stats does not show the limit")
            with bus.Bus(stand.clients, timeout=20 * SLOWER) as client:
                if client.stream(entry.body) != entry.wanted:
                    raise Broken("a wrong answer")
        streams, longest = readers.finish()
        trial.count("streams beside it", streams)
        trial.sample("longest, s", longest)


def wait_log(stand, text, count):
    harness.wait_until(lambda: stand.broker.log().count(text) >= count, 20 * SLOWER, f"the log to say: {text}")


def quiet_stranger(endpoint):
    """Connects and says nothing; the broker may never accept it."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    stranger = socket.socket()
    stranger.setblocking(False)
    stranger.connect_ex((host, int(port)))
    return stranger


@case("F24", "1,000 workers that come and go at 100 a second (quick: 200)")
def workers_come_and_go(trial):
    """All dead ones are purged, of services and of memory."""
    count = 200 if trial.quick else 1000
    with Stand() as stand, mdp.Client(stand.clients) as client:
        descriptors = stand.broker.program.descriptors()
        began = time.monotonic()
        for number in range(count):
            come_and_go(stand, trial, number)
            threading.Event().wait(max(0, began + (number + 1) / 100 - time.monotonic()))
        trial.note(f"{count} in {time.monotonic() - began:.1f} s")
        harness.wait_until(lambda: stand.broker.program.descriptors() <= descriptors + 8, what="the descriptors")
        harness.wait_until(lambda: is_purged(stand.stats()) and client.call(b"mmi.service", b"mayfly-0") == [[b"404"]],
                           15 * SLOWER, "the purge of workers and services")


def is_purged(stats):
    """At one moment: READYs that were sent long ago may still come in between two."""
    return not stats["workers"] and not stats["services"]


def come_and_go(stand, trial, number):
    """Half of them leave without a word, half with DISCONNECT."""
    with stock_dealer(stand.worker_endpoint, linger=500) as worker:
        worker.send_multipart([mdp.WORKER, mdp.READY, b"mayfly-%d" % (number % 7), b"4"])
        if trial.random.random() < 0.5:
            worker.send_multipart([mdp.WORKER, mdp.DISCONNECT])


@case("F26", "one client's flood beside another's small requests", alone=True)
def one_client_floods(trial):
    """Clients are served in turn: the other waits for one request of the flood at most."""
    takes_s = 0.002

    def work(body):
        threading.Event().wait(takes_s)
        yield body

    with Stand() as stand, mdp.Worker(stand.worker_endpoint, b"echo", work), mdp.Client(stand.clients) as good, \
            mdp.Client(stand.clients) as flood:
        stand.wait_workers(1, "echo")
        alone = percentiles(good, 200)
        for number in range(15_000):
            flood.send(b"echo", msgpack.packb({"id": number, "timeout": 60_000}))
        harness.wait_until(lambda: stand.service("echo")["queued"] > 5000, what="the flood")
        beside = percentiles(good, 200)
        trial.note("p50 and p99 alone {:.1f} and {:.1f} ms, beside {:.1f} and {:.1f} ms".format(*alone, *beside))
        if beside[0] > 4 * alone[0] + 5 * SLOWER:
            raise Broken(f"the other waits {beside[0]:.1f} ms")


def percentiles(client, count):
    taken = []
    for number in range(count):
        began = time.monotonic()
        if client.call(b"echo", b"%d" % number) != [[b"%d" % number]]:
            raise Broken("a wrong answer")
        taken.append((time.monotonic() - began) * 1000)
    taken.sort()
    return taken[count // 2], taken[count * 99 // 100]
