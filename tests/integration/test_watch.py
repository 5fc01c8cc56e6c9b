"""metric.watch and GET /_watch: who watches is told what changes, whatever happens to viewers, worker and broker."""
import base64
import contextlib
import fcntl
import itertools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import bus
import harness
import msgpack
from fake_bus import FakeBus, pack

BASE = 1500000000
FEW = 60 if harness.SLOW else 300


def create(client, uid):
    client.call("metric.write", {"op": "create", "metric": {"uid": uid, "datasource": "custom", "name": uid}})


def append(client, uid, count=1, first=0):
    client.call("metric.write", {"op": "append", "uid": uid, "rows": bus.pack_rows(
        [(BASE + first + number, 1.5, None, None) for number in range(count)])})


class Viewer:
    """One connection with GET /_watch. Events are (kind, id, data); comments are counted."""

    def __init__(self, program, query="", headers=(), buffer=None):
        host, port = program.ready["http"].removeprefix("http://").rsplit(":", 1)
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect((host, int(port)))
        lines = [f"GET /_watch{query} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.raw, self.events, self.comments, self.ids, self.ended, self.whole = b"", [], [], [], False, False
        self.head, self.text = None, b""

    def close(self):
        self.socket.close()

    def take(self, wait=0.0):
        """Reads what is there."""
        while not self.ended and select.select([self.socket], [], [], wait)[0]:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part, self.raw = b"", self.raw + b"RESET"
            self.ended = not part
            self.raw += part
            wait = 0
        if self.head is None and b"\r\n\r\n" in self.raw:
            head, self.raw = self.raw.split(b"\r\n\r\n", 1)
            self.head = head.decode()
        if self.head is not None:
            self.parse()
        return self

    def parse(self):
        """Chunks hold whole blocks or parts of them; a block ends with an empty line."""
        text, rest = b"", self.raw
        while (found := re.match(rb"([0-9a-fA-F]+)\r\n", rest)) and len(rest) >= found.end() + int(found[1], 16) + 2:
            size = int(found[1], 16)
            text += rest[found.end():found.end() + size]
            rest = rest[found.end() + size + 2:]
            self.whole |= size == 0
        self.text += text
        self.raw = rest
        while b"\n\n" in self.text:
            block, self.text = self.text.split(b"\n\n", 1)
            self.take_block(block.decode())

    def take_block(self, block):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
        if "id" in fields:
            self.store, _, commit = fields["id"].rpartition("-")
            self.ids.append(int(commit))
        if "event" in fields:
            self.events.append((fields["event"], int(commit), json.loads(fields["data"])))
        else:
            self.comments.append(block)

    def wait(self, condition, timeout=20.0, what="the viewer's event"):
        harness.wait_until(lambda: condition(self.take(0.01)), timeout, f"{what}, {self.head}, {self.events[-3:]}")
        return self

    def wait_welcome(self):
        return self.wait(lambda viewer: viewer.comments, what="the welcome")

    def told(self):
        """{uid: last rowid} of all changes so far."""
        return {uid: rowid for kind, _, data in self.events if kind == "change" for uid, rowid in data["metrics"]}

    def wait_told(self, **metrics):
        return self.wait(lambda viewer: all(viewer.told().get(uid, "") == rowid for uid, rowid in metrics.items()),
                         what=f"{metrics}")


class Watch(harness.Case):
    def setUp(self):
        super().setUp()
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def up(self, *args):
        self.program = self.stack.enter_context(harness.up(self.folder / "data", *args))
        self.client = self.stack.enter_context(bus.Bus(self.program.ready["clients"]))
        return self.program

    def view(self, query="", headers=(), program=None, **options):
        return self.stack.enter_context(contextlib.closing(
            Viewer(program or self.program, query, headers, **options)))

    def viewers(self):
        text = harness.http_get(self.program, "/metrics")[2].decode()
        return int(re.search(r"^metricmq_http_viewers (\d+)$", text, re.M)[1])


class Service(Watch):
    def ask(self, timeout=20000, **args):
        header, payload = self.client.call("metric.watch", {"op": "watch", "timeout": timeout, **args})
        self.assertIsNone(header["state"])
        return msgpack.unpackb(payload)

    def test_life(self):
        self.up()
        with bus.Bus(self.program.ready["clients"]) as other:
            self.client.send("metric.watch", {"op": "watch", "timeout": 20000})
            harness.wait_until(lambda: msgpack.unpackb(other.mmi("mmi.stats")[1])["services"]["metric.watch"]["busy"] == 1)
            create(other, "one")
            told = msgpack.unpackb(self.client.receive()[2])
            self.assertEqual((told["metrics"], told["reload"]), ([["one", 0]], False))
            append(other, "one", 3)
            again = self.ask(since=told["commit"], store=told["store"])
            self.assertEqual((again["metrics"], again["commit"]), ([["one", 3]], told["commit"] + 1))
            began = time.monotonic()
            self.assertEqual(self.ask(since=again["commit"], timeout=600), {**again, "metrics": []})
            self.assertGreater(time.monotonic() - began, 0.25)
            self.assertTrue(self.ask(since=again["commit"], store="another")["reload"])

    def test_too_much_is_a_reload(self):
        self.up()
        commit = self.ask(timeout=200)["commit"]
        for number in range(1001):
            self.client.send("metric.write", {"op": "create", "metric": {
                "uid": f"u{number}", "datasource": "custom", "name": f"u{number}"}})
        for _ in range(1001):
            self.assertEqual(self.client.receive()[1]["status"], 200)
        told = self.ask(since=commit)
        self.assertEqual((told["reload"], told["metrics"]), (True, []))
        self.client.call("metric.write", {"op": "delete", "uid": "u7"})
        self.assertEqual(self.ask(since=told["commit"])["metrics"], [["u7", None]])

    def test_waiting_ones_are_in_nobodys_way(self):
        """More than may wait: those who have waited longest are answered, and writes go on."""
        self.up()
        with bus.Bus(self.program.ready["clients"]) as other:
            for _ in range(100):
                self.client.send("metric.watch", {"op": "watch", "timeout": 20000})
            early = [msgpack.unpackb(self.client.receive()[2])["metrics"] for _ in range(44)]
            self.assertEqual(early, [[]] * 44)
            create(other, "one")
            late = [msgpack.unpackb(self.client.receive()[2])["metrics"] for _ in range(56)]
            self.assertEqual(late, [[["one", 0]]] * 56)

    def test_who_left_without_a_word(self):
        """Their requests wait to their ends, and keep nobody else from waiting."""
        self.up()
        for _ in range(4):
            with bus.Bus(self.program.ready["clients"]) as other:
                for _ in range(40):
                    other.send("metric.watch", {"op": "watch", "timeout": 600000})
                other.mmi("mmi.stats")  # by then the broker has them
        self.assertEqual(self.ask(timeout=3000)["metrics"], [])


class Http(Watch):
    def test_changes(self):
        self.up()
        viewer = self.view().wait_welcome()
        for line in ("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Cache-Control: no-store",
                     "X-Accel-Buffering: no"):
            self.assertIn(line, viewer.head.split("\r\n"))
        self.assertEqual((viewer.comments, viewer.ids), ([f": watching\nid: {viewer.store}-0"], [0]))
        self.assertRegex(viewer.store, "^[0-9a-f]{16}$")
        create(self.client, "one")
        viewer.wait_told(one=0)
        append(self.client, "one", 3)
        viewer.wait_told(one=3)
        events = len(viewer.events)
        self.client.call("metric.write", {"op": "score", "uid": "one", "rows": msgpack.packb([1, 0.5, 0.5])})
        viewer.wait(lambda viewer: len(viewer.events) > events)
        self.assertEqual(viewer.events[-1], ("change", 3, {"commit": 3, "metrics": [["one", 3]]}))
        self.client.call("metric.write", {"op": "prune", "uid": "one", "before": BASE + 1})
        viewer.wait(lambda viewer: len(viewer.events) > events + 1)
        self.client.call("metric.write", {"op": "delete", "uid": "one"})
        viewer.wait_told(one=None)
        self.assertEqual(viewer.ids, sorted(viewer.ids))

    def test_one_metric(self):
        self.up()
        for uid in ("one", "two"):
            create(self.client, uid)
        one, all_of_them = self.view("?uid=one").wait_welcome(), self.view().wait_welcome()
        append(self.client, "two")
        all_of_them.wait_told(two=1)
        append(self.client, "one")
        one.wait_told(one=1)
        all_of_them.wait_told(one=1)
        self.client.call("metric.write", {"op": "delete", "uid": "one"})
        one.wait_told(one=None)
        self.assertEqual(set(one.told()), {"one"})
        for uid in ("a%2fb", "data"):
            self.assertEqual(harness.http_get(self.program, f"/_watch?uid={uid}")[0], 400)
        status, headers, body = harness.http_get(self.program, "/_watch", method="HEAD")
        self.assertEqual((status, headers["Content-Type"], body), (200, "text/event-stream", b""))

    def test_coming_back(self):
        """With its last id a viewer gets what it has missed, also where nobody viewed meanwhile, or a reload."""
        self.up()
        first = self.view().wait_welcome()
        create(self.client, "one")
        first.wait_told(one=0)
        store = first.store
        second = self.view(headers=(f"Last-Event-ID: {store}-0",)).wait_welcome().wait_told(one=0)
        self.assertEqual(second.comments, [": watching"])
        for viewer in (first, second):
            viewer.close()
        harness.wait_until(lambda: self.viewers() == 0, what="no viewers")
        append(self.client, "one", 7)
        self.view(headers=(f"Last-Event-ID: {store}-1",)).wait_told(one=7)
        self.assertEqual(self.view().wait_welcome().ids, [2])
        number = "99999999999999999999"
        for id in ("77", "-1", "x", "2", "-", f"{store}-77", f"{store}--2", f"{store}-", f"{store}-{number}", store,
                   f"{store[1:]}-2", f"x{store}-2", f"{store}-2x", "x" * 85 + "-2", "x" * 6000):
            viewer = self.view(headers=(f"Last-Event-ID: {id}",)).wait(lambda viewer: viewer.events)
            self.assertEqual((id, viewer.events), (id, [("reload", 2, {"commit": 2})]))
            viewer.close()

    def test_many(self):
        """Each of 300 hears of it within 2 s, for little memory; those who leave are noticed."""
        self.up("--connections-per-address", "0")
        create(self.client, "one")
        before = self.program.rss()
        viewers = [self.view() for _ in range(FEW)]
        for viewer in viewers:
            viewer.wait_welcome()
        self.assertEqual(self.viewers(), FEW)
        taken = (self.program.rss() - before) / FEW
        print(f"{taken / 1024:.1f} KiB a viewer", flush=True)
        if not harness.SLOW:
            self.assertLess(taken, 64 << 10)
        began = time.monotonic()
        append(self.client, "one", 5)
        for viewer in viewers:
            viewer.wait_told(one=5)
        if not harness.SLOW:
            self.assertLess(time.monotonic() - began, 2)
        stats = msgpack.unpackb(self.client.mmi("mmi.stats")[1])["services"]["metric.watch"]
        self.assertLessEqual((stats["busy"], stats["queued"]), (1, 0))  # one request, however many view
        for viewer in viewers[:-1]:
            viewer.close()
        harness.wait_until(lambda: self.viewers() == 1, what="all but one to be gone")
        append(self.client, "one", 1)
        viewers[-1].wait_told(one=6)

    def test_room_for_others(self):
        """Viewers, who never leave by themselves, take three quarters of the connections at most."""
        self.up("--connections-max", "8")
        viewers = [self.view().wait_welcome() for _ in range(6)]
        self.assertIn("HTTP/1.1 503", self.view().wait(lambda viewer: viewer.head).head)
        status, _, body = harness.http_get(self.program, "/_watch")
        self.assertEqual((status, list(json.loads(body))), (503, ["result"]))
        self.assertEqual(harness.http_get(self.program, "/_watch", method="HEAD")[0], 503)
        self.assertEqual(harness.http_get(self.program, "/_models")[0], 200)
        viewers.pop().close()
        harness.wait_until(lambda: self.viewers() == 5, what="five viewers")
        self.view().wait_welcome()

    @harness.sqlite_only("it is about the adapter, and wants many commits")
    def test_a_viewer_that_stalls(self):
        """It is cut, and costs the others nothing; one that takes its time is told to reload."""
        self.up("--stall-timeout", "1s")
        good, bad = self.view().wait_welcome(), self.view(buffer=2048).wait_welcome()
        uids = [f"a-long-name-for-a-metric-so-that-an-event-is-big-{'x' * 40}-{number}" for number in range(900)]
        for uid in uids:
            self.client.send("metric.write", {"op": "create", "metric": {"uid": uid, "datasource": "custom", "name": uid}})
        for _ in uids:
            self.client.receive()
        before = self.program.rss()

        def all_change():
            for uid in uids:
                self.client.send("metric.write", {"op": "append", "uid": uid, "rows": bus.pack_rows([(BASE, 1, None, None)])})
            for _ in uids:
                self.client.receive()
            good.take()
            return self.viewers() == 1
        harness.wait_until(all_change, 60, what="the end of the viewer that stalls")
        good.wait(lambda viewer: uids[0] in viewer.told())
        self.assertFalse(good.ended)
        if not harness.SLOW:  # sanitizers keep what was freed
            self.assertLess(self.program.rss() - before, 64 << 20)
        bad.wait(lambda viewer: viewer.ended)

    def test_the_end(self):
        """When the adapter stops, answers end as they should."""
        program = self.up()
        viewers = [self.view().wait_welcome(), self.view("?uid=u").wait_welcome()]
        began = time.monotonic()
        program.stop()
        self.assertLess(time.monotonic() - began, 8)
        for viewer in viewers:
            viewer.wait(lambda viewer: viewer.ended)
            self.assertTrue(viewer.whole)
            self.assertNotIn(b"RESET", viewer.raw)

    def test_keys_that_go(self):
        """SIGHUP: viewers come back with their keys, or do not."""
        file = self.folder / "keys"
        key = harness.run("key", "one", "--rights", "read", "--api-keys", file).out.strip()
        program = self.up("--api-keys", file)
        header = "Authorization: Basic " + base64.b64encode(f"{key}:".encode()).decode()
        viewer = self.view(headers=(header,)).wait_welcome()
        file.write_text("")
        file.chmod(0o600)
        program.signal(signal.SIGHUP)
        viewer.wait(lambda viewer: viewer.whole)
        self.assertIn("401", self.view(headers=(header,)).wait(lambda viewer: viewer.head).head)


def set_loopback(up):
    """Of the network that this process is in: while it is down, what is sent is lost and nobody is told."""
    get_flags, set_flags, is_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        name, flags = struct.unpack("16sH", fcntl.ioctl(any_socket, get_flags, struct.pack("16sH14x", b"lo", 0))[:18])
        flags = flags | is_up if up else flags & ~is_up
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", name, flags))


@harness.sqlite_only("whoever has a network of his own does not reach the server")
class Vanished(Watch):
    """A viewer that is cut off from the network: nothing comes back, and nobody says that it is gone."""

    def test_in_a_network_of_its_own(self):
        apart = ("unshare", "--map-root-user", "--net")
        if subprocess.run([*apart, "true"], capture_output=True).returncode != 0:
            self.skipTest("no network of its own can be had here")
        done = subprocess.run([*apart, sys.executable, __file__, "Vanished.is_cut"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def is_cut(self):
        set_loopback(True)
        broker = self.stack.enter_context(harness.Program("broker", "--bind", f"ipc://{self.folder}/clients",
                                                          "--bind-workers", f"ipc://{self.folder}/workers"))
        self.stack.enter_context(harness.Program("worker", "write", "--connect", broker.ready["workers"],
                                                 "--data", self.folder / "data"))
        http = self.stack.enter_context(harness.Program("http", "--http", "127.0.0.1:0", "--stall-timeout", "1s",
                                                        "--connect", broker.ready["clients"]))
        client = self.stack.enter_context(bus.Bus(broker.ready["clients"]))
        create(client, "one")
        self.view(program=http).wait_welcome()
        set_loopback(False)
        append(client, "one")
        harness.wait_until(lambda: "path=/_watch" in http.errors(), 20, "the end of the viewer")
        set_loopback(True)


@harness.sqlite_only("there is no store behind a fake bus")
class Hostile(harness.Case):
    """What answers metric.watch is any worker's."""

    def test_answers_that_make_no_sense(self):
        good = {"commit": 5, "store": "s", "reload": False, "metrics": []}
        strange = [b"", b"\xc1", pack(None), pack([]), pack({}), pack({**good, "commit": -1}), pack({**good, "commit": "5"}),
                   pack({**good, "store": 5}), pack({**good, "store": "x" * 65}), pack({**good, "store": "a\nb"}),
                   pack({**good, "reload": None}), pack({**good, "metrics": None}), pack({**good, "metrics": [5]}),
                   pack({**good, "metrics": [["u"]]}), pack({**good, "metrics": [["a\nb", 5]]}),
                   pack({**good, "metrics": [["u", -1]]}), pack({**good, "metrics": [["u", 1.5]]}),
                   pack({**good, "metrics": [["data", 1]]}), pack({**good, "metrics": [["u", 1]]})[:-1], None]
        left = [strange[at:at + 2] for at in range(0, len(strange), 2)]  # two for each adapter, or it takes long
        mine, news = {}, {}
        fake = FakeBus()
        self.addCleanup(fake.stop)

        def answer(bus, peer, service, request):
            if service == b"metric.watch":
                bad = mine.setdefault(peer, left.pop() if left else [])
                payload = bad.pop() if bad else pack({**good, **news})
                bus.final(peer, service, request, status=200, **({"payload": payload} if payload is not None else {}))
        fake.answer = answer
        with contextlib.ExitStack() as stack:
            viewers = []
            for _ in list(left):
                http = stack.enter_context(harness.Program("http", "--http", "127.0.0.1:0", "--connect", fake.endpoint))
                viewers.append(stack.enter_context(contextlib.closing(Viewer(http))))
            for viewer in viewers:
                viewer.wait_welcome()
                self.assertEqual((viewer.ids, viewer.events), ([5], []))
            self.assertEqual((left, sum(mine.values(), [])), ([], []))
            news = {"commit": 7, "metrics": [["u", 1], ["v", None]]}
            for viewer in viewers:
                viewer.wait(lambda viewer: viewer.events)
                self.assertEqual(viewer.events[0], ("change", 7, {"commit": 7, "metrics": [["u", 1], ["v", None]]}))


class Command(Watch):
    """metricmq watch"""

    def start(self, *args):
        program = harness.Program("watch", "--connect", self.endpoint, *args, wait=False)
        self.addCleanup(program.kill)
        program.read = b""
        os.set_blocking(program.process.stdout.fileno(), False)
        return program

    def shown(self, program):
        program.read += program.process.stdout.read() or b""
        return [line.split(",") for line in program.read.decode().splitlines()[1:]]

    def wait_shown(self, program, *rows):
        """Rows are (uid, rowid)."""
        harness.wait_until(lambda: len(self.shown(program)) >= len(rows), what=f"{rows}, {program.errors()}")
        self.assertEqual([(row[0], int(row[4])) for row in self.shown(program)], list(rows))

    def wait_begun(self, program, uid, first):
        """Rows before it has begun are not shown: appends until one is; the rowid of the last one."""
        numbers = itertools.count(first)

        def is_shown():
            append(self.client, uid, 1, next(numbers))
            return harness.wait_until(lambda: self.shown(program) or True, 1) is not True
        harness.wait_until(is_shown, what=f"a row, {program.errors()}")

    def test_rows_as_they_come(self):
        self.up()
        self.endpoint = self.program.ready["clients"]
        for uid in ("one", "two"):
            create(self.client, uid)
        append(self.client, "one", 3)
        every = self.start("--format", "csv")
        one = self.start("one", "--format", "csv", "--anomaly", "0.5")
        self.wait_begun(every, "two", 0)
        self.assertNotIn("one", {row[0] for row in self.shown(every)})
        seen = len(self.shown(every))
        append(self.client, "one", 2, 3)
        harness.wait_until(lambda: len([row for row in self.shown(every) if row[0] == "one"]) == 2, what="new rows")
        self.assertEqual([(row[0], row[4]) for row in self.shown(every)][-2:], [("one", "4"), ("one", "5")])
        self.assertGreater(len(self.shown(every)), seen)
        for rowid, score in ((2, 0.1), (4, 0.75), (5, 0.5)):
            self.client.call("metric.write", {"op": "score", "uid": "one", "rows": msgpack.packb([rowid, score, 0.5])})
        self.wait_shown(one, ("one", 4), ("one", 5))
        for program, number in ((every, signal.SIGINT), (one, signal.SIGTERM)):
            program.signal(number)
            self.assertEqual(program.process.wait(10), 0)
            self.assertEqual(program.errors(), "")
        rowids = [(row[0], row[4]) for row in self.shown(every)]
        self.assertEqual(len(rowids), len(set(rowids)))
        self.assertEqual(harness.run("watch", "a", "b", check=False).returncode, 2)

    def test_nobody_reads(self):
        """A terminal that is gone, a disk that is full: it says so once, and ends."""
        self.up()
        create(self.client, "one")
        master, terminal = os.openpty()
        for place in (terminal, os.open("/dev/full", os.O_WRONLY)):
            process = subprocess.Popen([harness.PROGRAM, "watch", "--connect", self.program.ready["clients"]],
                                       stdin=subprocess.DEVNULL, stdout=place, stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.kill)
            os.close(place)
            more = lambda numbers=itertools.count(1000 * place): append(self.client, "one", 1, next(numbers))
            if place == terminal:
                harness.wait_until(lambda: more() or select.select([master], [], [], 0)[0], what="a row")
                os.close(master)

            def ends():
                more()  # a row by itself: what is written to a terminal in pieces fails in another way
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(0.5) is not None
            harness.wait_until(ends, what="the end")
            self.assertEqual((process.wait(), process.communicate()[1]), (1, "metricmq: cannot write to standard output\n"))

    def test_restarts(self):
        """Worker and broker die; what comes meanwhile is shown later, once."""
        broker = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        addresses = broker.ready
        self.endpoint = addresses["clients"]
        options = ("--connect", addresses["workers"], "--data", self.folder / "data")
        write = harness.Program("worker", "write", *options)
        query = self.stack.enter_context(harness.Program("worker", "query", *options))
        self.client = self.stack.enter_context(bus.Bus(self.endpoint))
        create(self.client, "one")
        program = self.start("--format", "csv")
        self.wait_begun(program, "one", 0)
        write.kill()
        write = harness.Program("worker", "write", *options)
        append(self.client, "one", 2, 1000)
        append(self.client, "one", 2, 1010)
        broker.kill()
        broker = harness.Program("broker", "--bind", addresses["clients"], "--bind-workers", addresses["workers"])
        append(self.client, "one", 3, 1020)
        times = lambda: [row[1] for row in self.shown(program)]
        harness.wait_until(lambda: times()[-1:] == [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(BASE + 1022))], 40,
                           f"the last row, {program.errors()}")
        rowids = [int(row[4]) for row in self.shown(program)]
        self.assertEqual(rowids[-7:], list(range(rowids[-1] - 6, rowids[-1] + 1)))
        self.assertEqual(rowids, sorted(set(rowids)))
        program.signal(signal.SIGINT)
        self.assertEqual(program.process.wait(10), 0)
        self.assertIsNone(query.process.poll())
        for one in (write, broker):
            one.stop()


class Losses(Watch):
    """Roles of their own, which come and go."""

    def start(self, *args):
        return self.stack.enter_context(harness.Program(*args))

    def write(self):
        return harness.Program("worker", "write", "--connect", self.broker.ready["workers"], "--data", self.folder / "data")

    def test_the_write_worker_and_the_broker(self):
        self.broker = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        addresses = self.broker.ready
        write = self.write()
        http = self.start("http", "--http", "127.0.0.1:0", "--connect", addresses["clients"])
        client = self.stack.enter_context(bus.Bus(addresses["clients"]))
        viewer = self.view(program=http).wait_welcome()
        create(client, "one")
        viewer.wait_told(one=0)
        write.kill()
        write = self.write()
        append(client, "one", 2)
        viewer.wait(lambda viewer: viewer.told().get("one") == 2 or viewer.events[-1][0] == "reload")
        write.stop()  # in good order: its request waits in the broker for the next one
        write = self.write()
        append(client, "one", 3)
        viewer.wait(lambda viewer: viewer.told().get("one") == 5 or viewer.events[-1][1] == 3)
        self.broker.kill()
        self.broker = harness.Program("broker", "--bind", addresses["clients"], "--bind-workers", addresses["workers"])
        append(client, "one", 4)
        viewer.wait(lambda viewer: viewer.told().get("one") == 9 or viewer.events[-1][1] == 4, 40)
        self.assertFalse(viewer.ended)
        for program in (write, self.broker):
            program.stop()

    @harness.sqlite_only("PostgreSQL's own tools restore such a store")
    def test_a_store_that_was_restored(self):
        """Its commits have the numbers of others that a viewer has seen: it is told to load all, by either way."""
        self.broker = self.start("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        http = self.start("http", "--http", "127.0.0.1:0", "--connect", self.broker.ready["clients"])
        client = self.stack.enter_context(bus.Bus(self.broker.ready["clients"]))
        write = self.write()
        create(client, "one")
        harness.run("backup", self.folder / "kept", "--data", self.folder / "data")
        append(client, "one", 1)
        append(client, "one", 1)
        stays, leaves = self.view(program=http).wait_welcome(), self.view(program=http).wait_welcome()
        leaves.close()
        self.assertEqual(leaves.ids, [3])
        write.stop()
        harness.run("restore", self.folder / "kept", "--data", self.folder / "data", "--keep-old")
        self.stack.enter_context(self.write())
        create(client, "two")
        append(client, "two", 1)
        stays.wait(lambda viewer: viewer.events)
        self.assertEqual(stays.events[0][0], "reload")
        stays.wait(lambda viewer: viewer.ids[-1] == 3)
        self.assertNotEqual(stays.store, leaves.store)
        back = self.view(program=http, headers=(f"Last-Event-ID: {leaves.store}-3",)).wait(lambda viewer: viewer.events)
        self.assertEqual(back.events, [("reload", 3, {"commit": 3})])
        same = self.view(program=http, headers=(f"Last-Event-ID: {stays.store}-3",)).wait_welcome()
        append(client, "two", 1)
        same.wait_told(two=2)
        self.assertEqual(len(same.events), 1)

    def test_viewers_wait_for_the_bus(self):
        """Nobody serves it at first: viewers are taken, and welcomed when it is there."""
        self.broker = self.start("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        http = self.start("http", "--http", "127.0.0.1:0", "--connect", self.broker.ready["clients"])
        viewer = self.view(program=http).wait(lambda viewer: viewer.head)
        harness.wait_until(lambda: "no news of the store" in http.errors(), what="the log's line")
        self.assertEqual(viewer.comments, [])
        self.stack.enter_context(self.write())
        viewer.wait_welcome()
        harness.wait_until(lambda: "news of the store again" in http.errors(), what="the log's line")


if __name__ == "__main__":
    harness.main()
