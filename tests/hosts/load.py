"""Work that goes on while hosts fail, and what must come of it.

Clients of four kinds, each with what it must see: streams of the client library (tools/bus_readers.c), compared byte by
byte; writers, who know docs/protocol.md alone, append rows under their first rowid until they are acknowledged; the same
ask for dumps until they are accepted; clients of HTTP read through haproxy what is compared too, and ask again where a
connection broke. Each notes when its requests began and ended, so that it can be told how long users waited.
"""
import base64
import collections
import contextlib
import http.client
import random
import threading
import time

import bus
import harness
import msgpack
import stand

TRY_S = 2  # how long a client of the bare protocol waits before it asks the other broker
PATIENCE_S = 90  # the longest that anything may take
KINDS = ("append", "stream", "feedback", "http")


class Client(threading.Thread):
    """`once` again and again; what it raises is raised by check()."""

    def __init__(self, load, kind, number):
        super().__init__(daemon=True, name=f"{kind} {number}")
        self.load, self.kind, self.random = load, kind, random.Random(load.random.random())
        self.error, self.ends = None, []  # (begin, end) of what was done
        self.tries = collections.Counter()  # what else was told

    def run(self):
        try:
            while not self.load.ending.wait(self.random.uniform(0, 0.1)):
                begin = time.monotonic()
                self.once()
                self.ends.append((begin, time.monotonic()))
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def renewed(self, since):
        """Was something done that was begun after that?"""
        return self.ends and self.ends[-1][0] > since

    def ask(self, service, body):
        """Again, of one broker and the other, until it is done."""
        end = time.monotonic() + PATIENCE_S
        for endpoint in self.load.endpoints(self.random):
            try:
                with bus.Bus(endpoint, timeout=TRY_S, curve=self.load.keys) as client:
                    return client.call(service, {**body, "timeout": TRY_S * 1000})
            except TimeoutError:
                self.tries["silence"] += 1
            except bus.Refused as refused:
                self.tries[refused.status] += 1
                if refused.status not in (500, 503, 504):  # 500: three workers died with it
                    raise
            assert time.monotonic() < end, f"{self.name}: not done: {self.tries}"
            time.sleep(0.02)  # as a client does that is told to come back


class Appender(Client):
    def __init__(self, load, number):
        super().__init__(load, "append", number)
        self.uid, self.rows = f"appended{number}", []  # acknowledged ones
        self.ask("metric.write", {"op": "create", "metric": {"uid": self.uid, "datasource": "custom", "name": self.uid}})

    def once(self):
        more = [(1400000000 + len(self.rows) + n, self.random.gauss(0, 1), self.random.random(), self.random.random())
                for n in range(self.random.randint(1, 50))]
        self.ask("metric.write", {"op": "append", "uid": self.uid, "first_rowid": len(self.rows) + 1,
                                  "rows": bus.pack_rows(more)})
        self.rows += more

    def check(self, found, known):
        """The rows that a stream has shown, of which `known` were acknowledged before it began; all that are there are
        there once. False: not all of them are there yet."""
        found = sorted(found, key=lambda row: row[4])
        first = found[0][4] if found else 1
        mine = self.rows[first - 1:known]
        assert [row[4] for row in found] == list(range(first, first + len(found))), f"rows of {self.uid} are doubled or missing"
        assert [row[1:4] for row in found[:len(mine)]] == [row[:3] for row in mine[:len(found)]], f"rows of {self.uid} are others"
        return len(found) >= len(mine)


class Dumper(Client):
    def __init__(self, load, number):
        super().__init__(load, "feedback", number)
        self.number, self.count, self.accepted = number, 0, {}  # key: (uid, extra)

    def once(self):
        self.count += 1
        uid, extra = self.random.choice(self.load.uids), {"client": self.number, "number": self.count}
        header, payload = self.ask("metric.feedback", {"op": "dump", "uid": uid, "created": 1700000000 + self.count,
                                                       "extra": extra})
        self.tries[header["status"]] += 1
        key = msgpack.unpackb(payload)["key"]
        assert key not in self.accepted, f"{key} was told twice"
        self.accepted[key] = (uid, extra)


class Visitor(Client):
    """Reads a metric's rows by way of haproxy. An answer that is whole is right; a connection that breaks, or an answer
    that says so, is asked again."""

    def __init__(self, load, number):
        super().__init__(load, "http", number)
        self.headers = {"Accept": "application/octet-stream",
                        "Authorization": "Basic " + base64.b64encode(f"{load.key}:".encode()).decode()}

    def once(self):
        uid, limit = self.random.choice(sorted(self.load.known.metrics)), self.random.choice([1, 40, 0])
        wanted = self.load.known.entry(uid=uid, anomaly=-1, limit=limit).wanted
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                status, body = self.get(f"/_models/{uid}/data?anomaly=-1&limit={limit}")
                if status == 200:
                    assert body == wanted, f"{self.name}: an answer of {len(body)} bytes is not the {len(wanted)} that it must be"
                    return
                self.tries[status] += 1
                assert status in (502, 503, 504), (status, body[:300])
            except (OSError, http.client.HTTPException) as broken:
                self.tries[type(broken).__name__] += 1
            assert time.monotonic() < end, f"{self.name}: no answer: {self.tries}"
            time.sleep(0.05)

    def get(self, path):
        with contextlib.closing(http.client.HTTPConnection(self.load.front, timeout=5)) as connection:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


class Load:
    """All of them. bed: what they work with (bed.py); `uids`: of metrics that are dumped, `known`: that are read."""

    def __init__(self, bed, chance):
        self.bed, self.random = bed, chance
        self.ending = threading.Event()
        self.keys, self.front, self.key = bed.keys, bed.front, bed.api_key
        self.known, self.uids = bed.known, bed.uids
        plan = self.known.short_plan() + [self.known.entry(uid=uid, anomaly=-1, max_bytes=20_000)
                                          for uid in sorted(self.known.metrics)]
        self.readers = stand.Readers(",".join(bed.clients), self.known, plan, 4, timeout_s=60, pause_ms=20, each=True,
                                     env=bed.client_environment)
        self.appenders = [Appender(self, number) for number in range(3)]
        self.dumpers = [Dumper(self, number) for number in range(2)]
        self.clients = [*self.appenders, *self.dumpers, *(Visitor(self, number) for number in range(2))]
        for client in self.clients:
            client.start()

    def endpoints(self, chance):
        """The brokers in turn, without end."""
        number = chance.randrange(len(self.bed.clients))
        while True:
            yield self.bed.clients[number % len(self.bed.clients)]
            number += 1

    def check(self):
        """Raises what went wrong with a client so far."""
        for client in self.clients:
            if client.error:
                raise AssertionError(f"{client.name}: {client.error!r}") from client.error
        assert self.readers.process.poll() is None, "".join(self.readers.lines[-20:])

    def renewed(self, since):
        """Has every client had something done that it began after that?"""
        self.check()
        return all(client.renewed(since) for client in self.clients) and self.readers.renewed(since)

    def longest(self, since):
        """{kind: seconds}: the longest that one waited for what ended later."""
        ends = collections.defaultdict(list)
        for client in self.clients:
            ends[client.kind] += [end - begin for begin, end in client.ends if end > since]
        ends["stream"] = [end - begin for begin, end in self.readers.ends if end > since]
        return {kind: max(ends[kind]) for kind in KINDS}

    def check_rows(self, last=None):
        """Every acknowledged row is there; last: of so many at the end of each metric. A standby may show the last ones a
        moment later."""
        for appender in self.appenders:
            known = len(appender.rows)
            body = {"op": "data", "uid": appender.uid, "anomaly": -1, **({"limit": last} if last else {})}
            harness.wait_until(lambda: appender.check(bus.rows_of(self.stream(body)), known), 20,
                               f"an acknowledged row of {appender.uid} is lost: the last of {known}")

    def stream(self, body):
        """A stream by a client of its own, which goes on from page to page as one must."""
        payloads, cursor = [], None
        while True:
            header, payload = self.clients[0].ask("metric.query", {**body, "cursor": cursor} if cursor else body)
            payloads.append(payload)
            cursor = header["next"]
            if cursor is None:
                return b"".join(payloads)

    def finish(self):
        """Ends all; what was done."""
        self.ending.set()
        streams, _ = self.readers.finish()
        for client in self.clients:
            client.join(PATIENCE_S)
            assert not client.is_alive(), f"{client.name} hangs"
        for client in self.clients:
            if client.error:
                raise AssertionError(f"{client.name}: {client.error!r}") from client.error
        done = collections.Counter()
        for client in self.clients:
            done[client.kind] += len(client.ends)
        return {"streams compared": streams, "HTTP answers compared": done["http"], "appends acknowledged": done["append"],
                "rows acknowledged": sum(len(appender.rows) for appender in self.appenders),
                "dumps accepted": sum(len(dumper.accepted) for dumper in self.dumpers)}

    def abandon(self):
        self.ending.set()
        self.readers.abandon()
