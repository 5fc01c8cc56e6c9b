"""Workers that die, stand still, flood or take a request that kills them."""
import contextlib
import signal
import threading
import time

import msgpack

import bus
import harness
import mdp
from catalogue import case
from history import Broken, History, Stream
from proxy import UP, Proxy
from stand import SLOWER, Data, Stand, stock_dealer

STREAM_BYTES = 1_200_000  # of the longest streams, about: how far into one a cut may be


@case("F1", "kill -9 a query worker at a random byte of its streams", quick=20, full=200, shard=50)
def worker_is_killed(trial):
    """No stream loses, doubles or mixes up a row: with another worker there, or none but itself, restarted.

    The next kill waits until no stream from before the last one is left: three make a request a 500 (F30)."""
    data = Data(trial.folder, trial.random)
    with Stand(data) as stand, Proxy(stand.worker_endpoint, trial.random.random()) as proxy:
        victim = stand.add_worker(proxy.endpoint)
        if trial.index % 2 == 0:
            stand.add_worker()
        readers = stand.readers(data.long_plan(), 4, each=True)
        stock = [stand.stock_reader(data.long_plan(), trial.random, name=f"stock client {n}") for n in range(2)]
        for point in range(trial.runs):
            struck = threading.Event()
            proxy.cut_after(UP, trial.random.randrange(1, STREAM_BYTES),
                            lambda: (victim.signal(signal.SIGKILL), struck.set()))
            harness.wait_until(struck.is_set, 60 * SLOWER, "the random byte")
            killed = time.monotonic()
            victim.wait_start(point + 2)
            for users in (readers, *stock):
                harness.wait_until(lambda: users.renewed(killed), 60 * SLOWER, "streams to end")
        finish(trial, readers, stock)


def finish(trial, readers, stock):
    streams, longest = readers.finish()
    trial.count("streams of the library", streams)
    trial.sample("longest, s", longest)
    trial.count("of stock clients", sum(reader.finish() for reader in stock))
    trial.count("pages taken up again", sum(reader.tries for reader in stock))


@case("F1", "kill -9 a query worker after k = 0 and k = 1 PARTIALs", quick=4, full=20, shard=5)
def worker_is_killed_after_k(trial):
    """k = 0: another worker does it and the client notices nothing; k = 1: 503, and the cursor goes on."""
    data = Data(trial.folder, trial.random)
    entry = data.entry(anomaly=-1)
    with Stand(data) as stand, Proxy(stand.worker_endpoint) as proxy:
        victim = stand.add_worker(proxy.endpoint)
        for run in range(trial.runs):
            k = run % 2
            stand.wait_workers(1)
            with bus.Bus(stand.clients) as client:
                history, stream = History("client"), Stream("client", entry.wanted)
                strike(trial, k, proxy, victim)
                ask(client, history, entry.body)
                if k == 0:
                    harness.wait_until(lambda: stand.service()["busy"] == 1, what="the request at the victim")
                    victim.kill()
                _, cursor = read_answer(client, history, stream)
                while cursor:
                    ask(client, history, {**entry.body, "cursor": cursor})
                    _, cursor = read_answer(client, history, stream)
                stream.end()
                history.check()
                refused = history.counts().get(503, 0)
                trial.count("pages refused after a PARTIAL", refused)
                if refused > k:  # none if the page ended first, or the next had not begun to answer
                    raise Broken(f"k = {k}: the client was answered {history.counts()}")
            victim.wait_start(run + 2)


def strike(trial, k, proxy, victim):
    """k = 0: the victim is stopped before it is asked; k = 1: dies after its first PARTIAL of 256 KiB, when the page has
    not ended (one that took long to make may be of half a MiB)."""
    if k == 0:
        victim.signal(signal.SIGSTOP)
    else:
        proxy.cut_after(UP, trial.random.randrange(270_000, 400_000), lambda: victim.signal(signal.SIGKILL))


def ask(client, history, body):
    id = next(client.ids)
    history.asked(id)
    client.send("metric.query", body, id)


def read_answer(client, history, stream):
    """(status of a request's FINAL, cursor to go on from)."""
    cursor = None
    while True:
        final, header, payload = client.receive()
        history.answered(header["id"], final, header)
        if final and header["status"] >= 400:
            return header["status"], cursor
        stream.add(payload)
        cursor = header["next"] if final else header["cursor"]
        if final:
            return header["status"], cursor


@case("F2", "SIGSTOP a query worker for 10 s at a random byte of its streams, then SIGCONT", quick=8, full=200, shard=20)
def worker_stands_still(trial):
    """Its requests are redone by others; what it says afterwards reaches nobody; it registers anew.

    Two at once at most: a request that meets three that stand still ends in 500 (F30)."""
    data = Data(trial.folder, trial.random)
    with Stand(data, workers=1) as stand:
        victims = [Sleeper(trial, stand) for _ in range(2)]
        stand.wait_workers(3)
        readers = stand.readers(data.long_plan(), 4, pause_ms=50)
        stock = [stand.stock_reader(data.long_plan(), trial.random, patience=5)]
        left = trial.runs
        while left > 0:
            struck = victims[:left]
            left -= len(struck)
            for victim in struck:
                victim.arm()
            for victim in struck:
                harness.wait_until(victim.woken.is_set, 90 * SLOWER, "the random byte")
            stand.wait_workers(3)
        finish(trial, readers, stock)
        for victim in victims:
            victim.check_registered_anew()


class Sleeper:
    """A worker behind a proxy, which stops it amid an answer; 10 s later it goes on."""

    def __init__(self, trial, stand):
        self.random = trial.random
        self.proxy = Proxy(stand.worker_endpoint)
        self.worker = stand.add_worker(self.proxy.endpoint)
        self.woken = threading.Event()

    def arm(self):
        self.woken.clear()
        self.proxy.call_after(UP, self.random.randrange(1, 600_000), self._stop)

    def _stop(self):
        self.worker.signal(signal.SIGSTOP)
        threading.Timer(10, self._wake).start()

    def _wake(self):
        self.worker.signal(signal.SIGCONT)
        self.woken.set()

    def check_registered_anew(self):
        if len(self.worker.starts) != 1 or self.worker.log().count("msg=ready") < 2:
            raise Broken("a worker that stood still did not register anew:\n" + self.worker.log()[-2000:])


@case("F2", "workers that answer 1 s after the broker has given them up", quick=10, full=50)
def answer_comes_late(trial):
    """Late frames are dropped and counted, and answered with DISCONNECT; the next request is unharmed."""
    with Stand() as stand, mdp.Client(stand.clients) as client, contextlib.ExitStack() as stack:
        sleepers = [stack.enter_context(stock_dealer(stand.worker_endpoint)) for _ in range(trial.runs)]
        for number, sleeper in enumerate(sleepers):
            sleeper.send_multipart([mdp.WORKER, mdp.READY, b"nap-%d" % number, b"4"])
        stand.wait_workers(1, f"nap-{trial.runs - 1}")
        for number in range(trial.runs):
            client.send(b"nap-%d" % number, msgpack.packb({"id": number, "timeout": 20_000}))
        tokens = [receive_request(sleeper) for sleeper in sleepers]
        harness.wait_until(lambda: all(service["workers"] == 0 for service in stand.stats()["services"].values()),
                           what="the broker to give them up")
        for number in range(trial.runs):
            stack.enter_context(mdp.Worker(stand.worker_endpoint, b"nap-%d" % number, answer_in_time))
        for sleeper, token in zip(sleepers, tokens):
            sleeper.send_multipart([mdp.WORKER, mdp.PARTIAL, token, b"", b"late"])
            sleeper.send_multipart([mdp.WORKER, mdp.FINAL, token, b"", b"late"])
        for _ in range(2):
            check_in_time(client, trial.runs)
            for number in range(trial.runs):
                client.send(b"nap-%d" % number, msgpack.packb({"id": number}))
        check_in_time(client, trial.runs)
        for sleeper in sleepers:
            while sleeper.poll(10_000) and sleeper.recv_multipart()[1] != mdp.DISCONNECT:
                pass
        dropped = stand.dropped()
        trial.note(f"{dropped['late'] + dropped['protocol']} late frames dropped and counted")
        if dropped["late"] + dropped["protocol"] != 2 * trial.runs:
            raise Broken(f"2 frames of each of {trial.runs} workers came late: {dropped}")


def receive_request(dealer):
    """The token of the next REQUEST."""
    while True:
        frames = dealer.recv_multipart()
        if frames[1] == mdp.REQUEST:
            return frames[2]


def answer_in_time(body):
    yield [b"in time", body[0]]


def check_in_time(client, count):
    seen = set()
    for _ in range(count):
        command, _, frames = client.receive()
        if command != mdp.FINAL_OF_CLIENT or frames[0] != b"in time":
            raise Broken(f"{frames} came")
        seen.add(msgpack.unpackb(frames[1])["id"])
    if len(seen) != count:
        raise Broken("an answer came twice")


@case("F8", "a worker floods PARTIALs past any page")
def worker_floods(trial):
    """Bounded: DISCONNECT, and the client is told."""
    with Stand() as stand, stock_dealer(stand.worker_endpoint, sndhwm=10000) as worker:
        worker.send_multipart([mdp.WORKER, mdp.READY, b"flood", b"8"])
        stand.wait_workers(1, "flood")
        with mdp.Client(stand.clients) as client:
            client.send(b"flood", msgpack.packb({"id": 1}))
            token = worker.recv_multipart()[2]
            for number in range(40):
                header = msgpack.packb({"id": 1, "seq": number, "cursor": None})
                worker.send_multipart([mdp.WORKER, mdp.PARTIAL, token, b"", header, bytes(1 << 20)])
            command, parts = mdp.PARTIAL_OF_CLIENT, 0
            while command == mdp.PARTIAL_OF_CLIENT:
                command, _, frames = client.receive()
                parts += 1
            header = msgpack.unpackb(frames[0])
            if header["status"] != 503 or parts > 18:
                raise Broken(f"after {parts} PARTIALs: {header}")
            while True:
                if not worker.poll(10000):
                    raise Broken("the worker is not sent away")
                if worker.recv_multipart()[1] == mdp.DISCONNECT:
                    break
            trial.note(f"{parts - 1} MiB passed, then 503")


@case("F30", "a request that kills any worker that takes it")
def request_is_deadly(trial):
    """Three workers at most, then 500; the others live."""
    with Stand() as stand:
        workers = [DeadlyWorker(stand.worker_endpoint) for _ in range(6)]
        stand.wait_workers(6, "mortal")
        with mdp.Client(stand.clients) as client:
            began = time.monotonic()
            client.send(b"mortal", msgpack.packb({"id": 7, "op": "poison"}))
            _, _, frames = client.receive(30)
            header = msgpack.unpackb(frames[0])
            if (header["status"], header["id"]) != (500, 7):
                raise Broken(f"the client was told {header}")
            trial.sample("500 after, s", time.monotonic() - began)
            if client.call(b"mortal", msgpack.packb({"id": 8, "op": "food"})) != [[b"done"]]:
                raise Broken("the others do not serve")
        for worker in workers:
            worker.stopping.set()
            worker.join()
        if sum(worker.died for worker in workers) != 3:
            raise Broken("not three workers died")


class DeadlyWorker(threading.Thread):
    """Serves one service with capacity 4; `poison` kills it, without a word."""

    def __init__(self, endpoint):
        super().__init__(daemon=True)
        self.endpoint = endpoint
        self.stopping = threading.Event()
        self.died = False
        self.start()

    def run(self):
        with stock_dealer(self.endpoint) as dealer:
            dealer.send_multipart([mdp.WORKER, mdp.READY, b"mortal", b"4"])
            while not self.stopping.is_set() and not self.died:
                if not dealer.poll(500):
                    dealer.send_multipart([mdp.WORKER, mdp.HEARTBEAT])
                    continue
                _, command, *rest = dealer.recv_multipart()
                if command == mdp.REQUEST:
                    self.died = b"poison" in rest[2]
                    if not self.died:
                        dealer.send_multipart([mdp.WORKER, mdp.FINAL, rest[0], b"", b"done"])
