"""Wall clocks that jump. libfaketime shifts CLOCK_REALTIME of the real program and leaves the monotonic clock alone."""
import glob
import os
import threading
import time

import bus
import harness
from catalogue import NotBuilt, case
from history import Broken
from stand import Data, Stand
from cases.workers import finish

SHIFTS = ["+1h", "-1h", "@1970-01-01 00:00:10", "@2038-01-19 03:14:00"]


def faketime():
    """The environment that preloads the library."""
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise NotBuilt("libfaketime is not installed")
    if harness.SLOW:  # a sanitizer's runtime wants to be loaded first, and hides what faketime hides
        raise NotBuilt("libfaketime and sanitizers do not go together")
    return {"LD_PRELOAD": found[0], "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC"}


def check_intervals(trial, data, env, seconds, meanwhile=lambda stand: None):
    """Heartbeats, deadlines and streams, with that environment in every process of ours."""
    with Stand(data, env=env) as stand:
        worker = stand.add_worker(env=env)
        stand.wait_workers(1)
        readers = stand.readers(data.long_plan(), 2, pause_ms=20)
        stock = [stand.stock_reader(data.short_plan(), trial.random)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            meanwhile(stand)
            began = time.monotonic()
            with bus.Bus(stand.clients) as client:
                try:
                    client.call("nobody", {"op": "x", "timeout": 500})
                except bus.Refused as refused:
                    took = time.monotonic() - began
                    if refused.status != 503 or not 0.45 < took < 10:  # other cases run beside it; steps are longer
                        raise Broken(f"a deadline of 0.5 s: {refused} after {took:.2f} s")
        if "worker gone" in stand.broker.log() or worker.log().count("msg=ready") != 1:
            raise Broken("a heartbeat was missed:\n" + stand.broker.log() + worker.log())
        finish(trial, readers, stock)


@case("F27", "clocks at +1 h, -1 h, in 1970 and in 2038", quick=0, full=4, shard=1)
def clock_is_wrong(trial):
    """Intervals are monotonic: heartbeats, deadlines and streams notice nothing."""
    data = Data(trial.folder, trial.random, rows=3000)
    shift = SHIFTS[trial.index % len(SHIFTS)]
    check_intervals(trial, data, {**faketime(), "FAKETIME": shift}, 8)


@case("F27", "a clock that steps by up to an hour each second", quick=0, full=1)
def clock_steps(trial):
    """As above, while the time changes under the program's feet."""
    data = Data(trial.folder, trial.random, rows=3000)
    clock = trial.folder / "clock"
    clock.write_text("+0")
    stopping = threading.Event()

    def step():
        while not stopping.wait(1):
            new = trial.folder / "clock.new"
            new.write_text(f"{trial.random.randrange(-3600, 3600):+d}")
            os.replace(new, clock)

    seen = set()
    stepper = threading.Thread(target=step)
    stepper.start()
    try:
        env = {**faketime(), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
        check_intervals(trial, data, env, 15, lambda stand: seen.add(clock.read_text()))
    finally:
        stopping.set()
        stepper.join()
    trial.note(f"{len(seen)} steps")
