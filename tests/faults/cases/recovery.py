"""How long until the next good answer after a kill -9. The library asks without a pause and retries."""
import signal
import time

import bus
import harness
from catalogue import case
from history import Broken
from stand import SLOWER, Data, Stand


def stock_answer(client, entry):
    """When the next good answer came, by a stock client that asks again at once."""
    while True:
        try:
            if client.stream({**entry.body, "timeout": 10_000}) != entry.wanted:
                raise Broken("a wrong answer")
            return time.monotonic()
        except (TimeoutError, bus.Refused):
            continue


def first_end(readers, wanted, what):
    """The end of the first stream of which wanted(begin, end) is true."""
    def find():
        return next((end for begin, end in readers.ends if wanted(begin, end)), None)
    return harness.wait_until(find, 30 * SLOWER, what)


def wait_ends(readers, count):
    del readers.ends[:]
    harness.wait_until(lambda: len(readers.ends) >= count, 30 * SLOWER, "the library's answers")


@case("recovery-worker", "kill -9 one of two query workers, which holds a request", quick=5, full=50, alone=True)
def worker_recovery(trial):
    """Others go on at once; the request that the dead one held is redone within liveness."""
    data = Data(trial.folder, trial.random, rows=2000)
    with Stand(data, workers=2) as stand:
        readers = stand.readers(data.short_plan()[:1], 2, each=True)
        for _ in range(trial.runs):
            victim = trial.random.choice(stand.workers)
            wait_ends(readers, 20)
            victim.signal(signal.SIGSTOP)
            wait_ends(readers, 20)  # two are under way, so the victim has one by now
            held = time.monotonic()
            trial.moment(0.1, 1)
            wait_ends(readers, 20)  # what is under way besides began later
            killed = time.monotonic()
            victim.kill()
            first = first_end(readers, lambda begin, end: end > killed, "an answer")
            redone = first_end(readers, lambda begin, end: begin < held and end > killed, "the request that it held")
            trial.sample("next answer, s", first - killed)
            trial.sample("the request that it held, s", redone - killed)
            stand.wait_workers(2)
        readers.finish()


@case("recovery-broker", "kill -9 the broker under a supervisor", quick=5, full=50, alone=True)
def broker_recovery(trial):
    """The supervisor starts it again at once; workers and clients come back by themselves."""
    data = Data(trial.folder, trial.random, rows=2000)
    entry = data.short_plan()[0]
    with Stand(data, workers=2) as stand:
        readers = stand.readers(data.short_plan()[:1], 1, each=True)
        for _ in range(trial.runs):
            wait_ends(readers, 20)
            trial.moment(0.05, 0.3)
            with bus.Bus(stand.clients, timeout=0.2 * SLOWER) as client:
                killed = time.monotonic()
                stand.broker.kill()
                trial.sample("stock client, s", stock_answer(client, entry) - killed)
            trial.sample("library, s", first_end(readers, lambda begin, end: end > killed, "an answer") - killed)
            stand.wait_workers(2)
        readers.finish()
