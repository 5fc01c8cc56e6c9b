"""F68: feedback workers are killed all the time while clients ask for dumps; nothing accepted is lost or doubled.

Each start of a worker has a fate: to die at its nth call that changes something outside of it (tools/kill_at.c;
n is uniform over the calls that a start and a few dumps were seen to make), or at a random time. Clients ask for
the same dump until it is accepted (200 or 202), as the library does. Now and then the store takes nothing for a
while, so that some are accepted with 202 and delivered in the background. In the end every key that was told must
be in the store once and hold the right bytes, and nothing else may be anywhere.
"""
import collections
import random
import re
import threading
import time

import msgpack

import bus
import harness
import house
from house import SLOWER, preload

# The steps of a job, by the lines of kill_at's log; the first that fits.
STEPS = [("bus", r"(send|connect) socket {bus}$"),
         ("upload", r"(send|connect) socket {store}$|^\w+ .*/uploads\b"),
         ("accept", r"(mkdir|open|flock) .*/spool/\.new-"),
         ("build", r"(write|pwrite|ftruncate|fallocate|sync_file_range) .*/spool/\.new-.*/archive"),
         ("manifest", r"write .*/spool/\.new-"),
         ("fsync", r"fsync .*/spool(/\.new-.*)?$"),
         ("rename", r"rename .*/spool/[0-9a-f]{{32}}$"),
         ("mark", r"(rename|unlink|flock|open) .*/spool/\.done-|^unlink .*/spool/\w{{32}}"),
         ("take", r"flock .*/spool/[0-9a-f]{{32}}$"),
         ("count", r"\w+ .*/spool/[0-9a-f]{{32}}/"),
         ("sweep", r"unlink .*/spool/\.new-"),
         ("start", r".")]


class Asker(threading.Thread):
    """A client: one dump after the other, each asked for until it is accepted."""

    def __init__(self, endpoint, uids, number, chance, stop, pause_s, patience_s=20):
        super().__init__(daemon=True)
        self.endpoint, self.uids, self.number, self.random, self.stop = endpoint, uids, number, chance, stop
        self.pause_s, self.patience_s = pause_s, patience_s * SLOWER
        self.accepted = {}  # key: (uid, extra)
        self.statuses = collections.Counter()
        self.error = None
        self.start()

    def run(self):
        try:
            with bus.Bus(self.endpoint, timeout=self.patience_s) as client:
                for number in range(1 << 30):
                    if self.stop.wait(self.random.uniform(0, self.pause_s)):
                        return
                    extra = {"client": self.number, "number": number}
                    self.ask(client, {"op": "dump", "uid": self.random.choice(self.uids), "created": 1700000000 + number,
                                      "extra": extra, "timeout": round(500 * self.patience_s)})
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def ask(self, client, body):
        end = time.monotonic() + 120 * SLOWER
        while True:
            try:
                header, payload = client.call("metric.feedback", body)
                break
            except TimeoutError:
                self.statuses["timeout"] += 1
            except bus.Refused as refused:
                self.statuses[refused.status] += 1
                if refused.status not in (500, 503, 504):  # 500: three workers died with it
                    raise
            if time.monotonic() > end:
                raise AssertionError(f"{body} is never accepted: {self.statuses}")
            time.sleep(0.02)  # as a client does that is told to come back
        self.statuses[header["status"]] += 1
        key = msgpack.unpackb(payload)["key"]
        assert key not in self.accepted, f"{key} was told twice"
        self.accepted[key] = (body["uid"], body["extra"])


class Slot:
    """A place for one feedback worker, which dies and comes back."""

    def __init__(self, kills):
        self.kills = kills
        self.process = None
        self.kill_s = None

    def begin(self):
        kills, chance, environment, wait_s = self.kills, self.kills.random, {}, 3 * SLOWER
        if chance.random() < 0.5:
            environment = preload(KILL_AT=chance.randint(1, kills.calls), KILL_AT_LOG=kills.log)
        else:
            wait_s = chance.uniform(0, kills.longest_s)
        self.process = kills.house.worker(env=environment, wait=False)
        self.kill_s = time.monotonic() + wait_s

    def look(self):
        """True if the worker has died, by its fate or by us; then it has begun anew."""
        died = self.process.process.poll() is not None
        if not died and time.monotonic() < self.kill_s:
            return False
        if died and self.process.process.returncode != -9:
            status = self.process.process.returncode
            raise AssertionError(f"a worker ended with {status}\n{self.process.errors()[-4000:]}")
        self.kills.count["by call" if died else "by time"] += 1
        self.end()
        self.kills.store.check_new(self.kills.seen)
        self.begin()
        return True

    def end(self):
        """kill -9, and no sanitizer may have said anything before."""
        self.process.kill()
        self.process.process.stdout.close()
        errors = self.process.errors()
        if harness.REPORT.search(errors):
            raise AssertionError("report on stderr:\n" + errors)


class Kills:
    """One run. `store`: house.FileStore, or one with the same methods."""

    def __init__(self, folder, chance, store, workers=1, clients=4, pause_s=0.02, longest_s=0.3, calm=None):
        """calm: called when the killing is over, before all must come to its end."""
        self.folder, self.random, self.store = folder, chance, store
        self.workers, self.clients, self.pause_s = workers, clients, pause_s
        self.calm = calm
        self.longest_s = longest_s * SLOWER
        self.log = folder / "killed.log"
        self.count = collections.Counter()
        self.accepted = {}  # key: (uid, extra)
        self.seen = set()  # objects that were looked at
        self.is_well, self.change_s = True, 0.0

    def run(self, kills):
        """Until so many workers were killed and enough was accepted. Raises if a promise was broken."""
        with house.House(self.folder, self.random, self.store, env={"METRICMQ_LOG_LEVEL": "error"}) as self.house:
            self.uids = self.house.load(bare=0, few=20, many=3000)
            self.measure()
            self.kill_all(kills)
            self.house.check(self.accepted)
            self.steps = self.count_steps()
        return self

    def measure(self):
        """self.calls: what a start and a dump of each metric make."""
        log = self.folder / "calls.log"
        with self.house.worker(env=preload(KILL_AT_LOG=log)):
            for number, uid in enumerate(self.uids):
                key = self.house.ask_until(uid, number)
                self.accepted[key] = (uid, {"number": number})
        self.calls = len(log.read_text().splitlines())

    def kill_all(self, kills):
        """Kills, then lets everything come to its end."""
        stop = threading.Event()
        askers = [Asker(self.house.endpoint, self.uids, number, random.Random(self.random.random()), stop, self.pause_s)
                  for number in range(self.clients)]
        slots = [Slot(self) for _ in range(self.workers)]
        try:
            for slot in slots:
                slot.begin()
            # On a slow machine most kills come before the first answer: then there are more of them.
            while self.killed() < kills or (self.told(askers) <= kills // 2 and self.killed() < 10 * kills):
                if not any([slot.look() for slot in slots]):
                    self.pause(slots)
                self.change_weather()
        finally:
            stop.set()
            for slot in slots:
                slot.end()
        self.store.set_well(True)
        if self.calm:
            self.calm()
        with self.house.worker():
            for asker in askers:
                asker.join()
                assert not asker.accepted.keys() & self.accepted.keys()
                self.accepted.update(asker.accepted)
                self.count.update({f"answers {status}": count for status, count in asker.statuses.items()})
            self.told(askers)
            harness.run("spool", "retry", "--data", self.house.data)  # they may have failed often by now
            self.house.wait_empty()
        assert len(self.accepted) > kills // 2, f"only {len(self.accepted)} dumps were accepted"

    def change_weather(self):
        """The store is well for a while, then it is not."""
        if time.monotonic() > self.change_s:
            self.is_well = not self.is_well
            self.store.set_well(self.is_well)
            self.change_s = time.monotonic() + self.random.uniform(0.2, 0.8 if self.is_well else 0.6) * SLOWER

    def pause(self, slots):
        """Until a worker may have died."""
        left_s = min(slot.kill_s for slot in slots) - time.monotonic()
        time.sleep(min(max(left_s, 0), 0.005))

    def killed(self):
        return self.count["by call"] + self.count["by time"]

    def told(self, askers):
        """How many dumps were accepted; raises what went wrong with a client."""
        for asker in askers:
            if asker.error:
                raise asker.error
        return sum(len(asker.accepted) for asker in askers)

    def count_steps(self):
        """How many were killed by call at which step."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        addresses = {key: re.escape(value) for key, value in self.house.addresses.items()}
        steps = [(name, re.compile(pattern.format(**addresses))) for name, pattern in STEPS]
        return collections.Counter(next(name for name, pattern in steps if pattern.match(line)) for line in lines)
