"""A broker that dies, is restarted again and again, or stands still."""
import signal
import threading
import time

import msgpack

import bus
import harness
import mdp
from catalogue import case
from history import Broken
from stand import SLOWER, Data, Stand, Supervised
from cases.workers import finish

READY_AGAIN_S = 2.0 * SLOWER  # measured alone; beside other cases every step waits for a CPU


def check_not_restarted(workers):
    for worker in workers:
        if len(worker.starts) != 1:
            raise Broken("a worker ended:\n" + worker.log()[-2000:])


@case("F3", "kill -9 the broker with 200 requests in flight", quick=20, full=200, shard=50)
def broker_is_killed(trial):
    """Clients retry, workers are READY again by themselves, nothing else needs a restart."""
    data = Data(trial.folder, trial.random)
    with Stand(data, workers=2) as stand:
        readers = stand.readers(data.long_plan(), 3)
        stock = [stand.stock_reader(data.long_plan(), trial.random, name=f"stock client {n}") for n in range(2)]
        kill_broker_under_load(trial, stand, data, 5 * READY_AGAIN_S)
        finish(trial, readers, stock)


@case("F3", "kill -9 the broker, measured alone: workers READY again in under 2 s", quick=5, full=40, alone=True)
def broker_comes_back(trial):
    data = Data(trial.folder, trial.random, rows=2000)
    with Stand(data, workers=2) as stand:
        kill_broker_under_load(trial, stand, data, READY_AGAIN_S)


def kill_broker_under_load(trial, stand, data, most_s):
    many = stand.readers(data.short_plan(), 200, pause_ms=5)
    for point in range(trial.runs):
        trial.moment(0.05, 0.4)
        stand.broker.kill()
        returned = stand.broker.wait_start(point + 2)
        stand.wait_workers(2)
        took = time.monotonic() - returned
        trial.sample("READY again, s", took)
        if took > most_s:
            raise Broken(f"the workers were READY {took:.2f} s after the broker's return")
    check_not_restarted(stand.workers)
    streams, longest = many.finish()
    trial.count("small queries", streams)
    trial.sample("longest small query, s", longest)


class HttpUser(threading.Thread):
    """Asks the adapter again and again; knows the last error's time."""

    def __init__(self, program, uid):
        super().__init__(daemon=True)
        self.program, self.uid = program, uid
        self.stopping = threading.Event()
        self.answers, self.errors, self.last_error = 0, 0, 0.0
        self.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                status, _, _ = harness.http_get(self.program, f"/_models/{self.uid}/data?limit=50", timeout=60)
            except (OSError, harness.http.client.HTTPException):
                status = 0
            if status == 200:
                self.answers += 1
            else:
                self.errors += 1
                self.last_error = time.monotonic()

    def finish(self):
        self.stopping.set()
        self.join(60)

    abandon = finish


@case("F4", "the broker restarted under load, one restart each 1.2 s", quick=10, full=50, long=True)
def broker_is_restarted_often(trial):
    """No errors 3 s after the last; descriptors and memory of workers and adapter do not grow."""
    data = Data(trial.folder, trial.random)
    with Stand(data, workers=2) as stand:
        adapter = stand.add(Supervised("http", "--http", "127.0.0.1:0", "--connect", stand.clients))
        user = stand.add(HttpUser(adapter.program, sorted(data.metrics)[0]))
        readers = stand.readers(data.long_plan(), 4, pause_ms=20)
        stock = [stand.stock_reader(data.short_plan(), trial.random)]
        roles = [*stand.workers, adapter]
        settled = None
        for point in range(trial.runs):
            trial.moment(1.1, 1.3)
            stand.broker.signal(signal.SIGKILL if point % 2 else signal.SIGTERM)
            stand.broker.wait_start(point + 2)
            if point == 4:
                stand.wait_workers(2)
                settled = [(role.program.descriptors(), role.program.rss()) for role in roles]
        last = time.monotonic()
        stand.wait_workers(2)
        harness.wait_until(lambda: time.monotonic() > last + 6, what="3 s and 3 s without an error")
        user.finish()
        if user.last_error > last + 3 * SLOWER:
            raise Broken(f"an error {user.last_error - last:.1f} s after the last restart")
        trial.count("HTTP answers", user.answers)
        trial.count("HTTP errors during the restarts", user.errors)
        check_not_restarted(roles)
        check_growth(trial, roles, settled)
        finish(trial, readers, stock)


def check_growth(trial, roles, settled):
    for role, (descriptors, rss) in zip(roles, settled):
        more_descriptors = role.program.descriptors() - descriptors
        more_mib = (role.program.rss() - rss) / 2 ** 20
        trial.sample("descriptors more", more_descriptors)
        trial.sample("MiB more", more_mib)
        if more_descriptors > 4 or (more_mib > 10 and not harness.SLOW):
            raise Broken(f"{role.args[:2]} grew by {more_descriptors} descriptors, {more_mib:.1f} MiB")


@case("F9", "SIGSTOP the broker for 30 s (quick: 7 s)", quick=1, full=4, shard=1)
def broker_stands_still(trial):
    """Peers time out and recover; nothing stale reaches anybody."""
    data = Data(trial.folder, trial.random)
    with Stand(data, workers=2) as stand:
        readers = stand.readers(data.long_plan(), 4, timeout_s=120, pause_ms=20)
        stock = [stand.stock_reader(data.short_plan(), trial.random, name=f"stock client {n}") for n in range(3)]
        trial.moment(0.2, 1.0)
        stand.broker.signal(signal.SIGSTOP)
        refused = harness.run("query", "--connect", stand.clients, "--timeout", "2s", check=False)
        if refused.returncode != 1:
            raise Broken(f"a query to a broker that stands still: exit {refused.returncode}")
        trial.moment(*(5, 5) if trial.quick else (28, 28))
        stand.broker.signal(signal.SIGCONT)
        woken = time.monotonic()
        stand.wait_workers(2)
        entry = data.short_plan()[0]
        with bus.Bus(stand.clients) as client:
            if client.stream(entry.body) != entry.wanted:
                raise Broken("a wrong answer after it")
        trial.sample("first answer after SIGCONT, s", time.monotonic() - woken)
        check_not_restarted([*stand.workers, stand.broker])
        trial.count("late answers dropped by stock clients", sum(one.history.late for one in stock))
        finish(trial, readers, stock)


@case("F22", "a client times out and goes on on the same socket while the late answer comes", quick=30, full=200)
def answer_is_late(trial):
    """Each answer bears the id that was asked and the content that belongs to it."""
    def work(body):
        asked = msgpack.unpackb(body[0])
        threading.Event().wait(asked["takes"])
        yield [msgpack.packb({"id": asked["id"], "status": 200, "seq": 0}), msgpack.packb(asked["id"] * 7)]
    with Stand() as stand, mdp.Worker(stand.worker_endpoint, b"slow", work), mdp.Client(stand.clients) as client:
        stand.wait_workers(1, "slow")
        late = 0
        for id in range(1, trial.runs + 1):
            body = {"id": id, "timeout": 40, "takes": trial.random.choice([0, 0.03, 0.04, 0.05, 0.06])}
            client.send(b"slow", msgpack.packb(body))
            command, _, frames = client.receive()
            header = msgpack.unpackb(frames[0])
            if header["id"] != id or command != mdp.FINAL_OF_CLIENT:
                raise Broken(f"{id} was asked, {header} came")
            if header["status"] == 200 and msgpack.unpackb(frames[1]) != id * 7:
                raise Broken(f"{id} got another's content")
            late += header["status"] == 504
        harness.wait_until(lambda: stand.service("slow")["busy"] == 0, what="the last answer")
        dropped = stand.dropped()["late"]
        if dropped == 0 or dropped > late:
            raise Broken(f"{late} requests timed out, {dropped} late answers were dropped")
        trial.note(f"{late} timed out, {dropped} late answers dropped and counted")
