"""Stops under load: SIGTERM of broker, workers and `up`."""
import signal
import threading
import time

import msgpack

import harness
import mdp
from catalogue import case
from history import Broken
from stand import SLOWER, Data, Readers, Stand
from cases.workers import finish

DRAIN_S = 5


@case("F28", "SIGTERM to the broker with 200 requests at workers and in its queue", quick=3, full=20, shard=5)
def broker_is_told_to_stop(trial):
    """Exit 0 within the drain timeout; every accepted request has its FINAL, of a worker or 503."""
    def work(body):
        threading.Event().wait(0.01)
        yield [b"done", *body]
    for _ in range(trial.runs):
        with Stand(broker=("--drain-timeout", f"{DRAIN_S}s")) as stand, \
                mdp.Worker(stand.worker_endpoint, b"work", work) as one, \
                mdp.Worker(stand.worker_endpoint, b"work", work) as two, mdp.Client(stand.clients) as client:
            stand.wait_workers(2, "work")
            for number in range(200):
                client.send(b"work", msgpack.packb({"id": number}))
            answers = [client.receive() for _ in range(trial.random.randrange(1, 100))]
            began = time.monotonic()
            stand.broker.stopping = True
            stand.broker.signal(signal.SIGTERM)
            while len(answers) < 200:
                answers.append(client.receive())
            stand.broker.stop(timeout=DRAIN_S + 5 * SLOWER)
            trial.sample("stopped after, s", time.monotonic() - began)
            check_finals(trial, answers)
            one.stopping.set(), two.stopping.set()


def check_finals(trial, answers):
    seen = set()
    for command, _, frames in answers:
        header = msgpack.unpackb(frames[-1])
        if command != mdp.FINAL_OF_CLIENT or header.get("status", 503) != 503:
            raise Broken(f"{frames} came")
        seen.add(header["id"])
        trial.count("done" if frames[0] == b"done" else "refused with 503")
    if seen != set(range(200)):
        raise Broken("not every request had its FINAL")


@case("F28", "SIGTERM to a query worker under load, another goes on", quick=5, full=30, shard=10)
def worker_is_told_to_stop(trial):
    """Exit 0; nobody notices: what it had begun is answered, what it held goes to the other."""
    data = Data(trial.folder, trial.random)
    with Stand(data, workers=1) as stand:
        readers = stand.readers(data.long_plan(), 4, pause_ms=10)
        errors_before = stand.service()["errors"]
        for _ in range(trial.runs):
            worker = stand.add_worker(args=("--drain-timeout", f"{DRAIN_S}s"))
            stand.wait_workers(2)
            trial.moment(0.05, 0.4)
            began = time.monotonic()
            worker.stop(timeout=DRAIN_S + 5 * SLOWER)
            trial.sample("stopped after, s", time.monotonic() - began)
        if stand.service()["errors"] != errors_before:
            raise Broken("a request failed that a worker held when it was told to stop")
        finish(trial, readers, [])


@case("F28", "SIGTERM to `up` under streams over the bus and over HTTP", quick=2, full=10, shard=5)
def house_is_told_to_stop(trial):
    """Exit 0 within the drain timeout; nothing hangs; what was answered was right."""
    data = Data(trial.folder, trial.random)
    for _ in range(trial.runs):
        with harness.up(trial.folder / "data", "--drain-timeout", f"{DRAIN_S}s") as program:
            readers = Readers(program.ready["clients"], data, data.long_plan(), 4, timeout_s=3)
            answers, stopping = [], threading.Event()
            uid = sorted(data.metrics)[0]
            user = threading.Thread(target=ask_http, args=(program, uid, answers, stopping))
            user.start()
            trial.moment(0.2, 0.6)
            began = time.monotonic()
            program.stop(timeout=DRAIN_S + 5 * SLOWER)
            trial.sample("stopped after, s", time.monotonic() - began)
            stopping.set()
            user.join()
            check_readers(readers)
            if set(answers) - {200, 503, 504, 0} or 200 not in answers:
                raise Broken(f"over HTTP: {set(answers)}")


def ask_http(program, uid, answers, stopping):
    while not stopping.is_set():
        try:
            answers.append(harness.http_get(program, f"/_models/{uid}/data", timeout=30)[0])
        except (OSError, harness.http.client.HTTPException):
            answers.append(0)
            stopping.wait(0.02)


def check_readers(readers):
    """Streams may fail when the house is gone, but none may be wrong or end too early."""
    readers.process.stdin.close()
    readers.process.wait(60)
    readers.thread.join()
    wrong = [line for line in readers.lines if line.startswith(("bad", "short"))]
    if wrong or not readers.lines:
        raise Broken("the library: " + "".join(wrong))
