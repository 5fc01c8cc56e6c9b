"""`metricmq status`: once, and as a live table on a terminal, which is given back however it ends."""
import json
import os
import re
import signal
import threading

import harness
from bus import Bus
from fake_bus import FakeBus, pack
from terminal import Screen, Terminal

HOSTILE = b"evil\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\x00\xc2\x9b1m\xe2\x80\xaetxt\xff"
SERVICES = ("metric.query", "metric.write", "metric.feedback", "metric.watch")


def stats(**changes):
    """What a broker with one busy service may answer."""
    took = [[50, 0], [100, 0], [1000, 0], [300000000, 0]]
    service = {"workers": 1, "capacity": 6, "busy": 2, "queued": 0, "queued_bytes": 0, "requests": 0, "errors": 0,
               "redispatched": 0, "partials": 0, "bytes_in": 0, "bytes_out": 0, "took": took, "took_us": 0,
               "waited": took, "waited_us": 0, **changes.pop("query", {})}
    return {"uptime_ms": 5000, "clients": 2, "services": {"metric.query": service, **changes.pop("more", {})},
            "workers": [{"service": "metric.query", "name": "", "number": 1, "capacity": 6, "held": 2,
                         "requests": 7, "age_ms": 300, "ready_ms": 4000}],
            "dropped": {"late": 1}, "client_connections": 2, "worker_connections": 1, "descriptors": 30,
            "descriptors_max": 1024, "memory": 1 << 25, **changes}


class Watched(harness.Case):
    def watch(self, endpoint, *args, **options):
        terminal = Terminal(harness.PROGRAM, "status", "--watch", "--connect", endpoint, "--interval", "200ms", *args,
                            **options)
        self.addCleanup(terminal.close)
        return terminal

    def leave(self, terminal, status=0):
        self.assertEqual(terminal.end(), status)
        self.assertTrue(terminal.is_restored(), terminal.screen.modes)
        self.assertIsNone(harness.REPORT.search(terminal.raw.decode("utf-8", "replace")))


class Whole(Watched):
    """With the real program."""

    @classmethod
    def setUpClass(cls):
        cls.program = harness.up(harness.temporary_folder(cls) / "data")
        cls.addClassCleanup(cls.program.stop)
        cls.endpoint = cls.program.ready["clients"]

    def ask(self, times=1):
        with Bus(self.endpoint) as client:
            for _ in range(times):
                client.call("metric.query", {"op": "models"})

    def test_once(self):
        done = harness.run("status", "--connect", self.endpoint, "--watch")  # no terminal: once, and plain
        self.assertNotIn("\x1b", done.out)
        for service in SERVICES:
            self.assertRegex(done.out, rf"(?m)^  {service} +1 +0/\d+ ")
            self.assertRegex(done.out, rf"(?m)^ +\d  {service} ")
        self.assertRegex(done.out, r"(?m)^store [\d.]+ KiB, of it free 0 B; its log .*; its disk has [\d.]+ [GT]iB left$")
        self.assertIn("spool 0 jobs (0 waiting, 0 settings, 0 held), 0 B, oldest -, 0 in quarantine", done.out)
        told = json.loads(harness.run("status", "--connect", self.endpoint, "--format", "json").out)
        self.assertEqual(set(told), {"broker", "spool", "store"})
        self.assertEqual(set(told["broker"]["services"]), set(SERVICES))
        self.assertGreater(told["store"]["bytes"], 0)
        for args in (("--format", "csv"), ("--watch", "--format", "json")):
            self.assertEqual(harness.run("status", *args, check=False).returncode, 2)

    def test_live(self):
        terminal = self.watch(self.endpoint)
        terminal.wait(lambda screen: all(f"  {service} " in screen.text() for service in SERVICES))
        stop = threading.Event()
        self.addCleanup(stop.set)

        def load():
            while not stop.is_set():
                self.ask(20)
        threading.Thread(target=load, daemon=True).start()
        seen = terminal.wait(lambda screen: re.search(
            r"metric.query +1 +\d/\d+ +\d+ +([\d,.]+) +([\d.]+)(µs|ms) +([\d.]+)(µs|ms|s) +", screen.text()), "rates")
        self.assertGreater(float(seen.group(1).replace(",", "")), 0)
        stop.set()
        self.assertTrue(terminal.screen.modes["alternate"])
        self.assertFalse(terminal.screen.modes["cursor"])
        self.assertIn("q quit", terminal.screen.lines()[-1])
        terminal.wait(lambda screen: re.search(r"metric.query +1 +0/\d+ +0 +[\d.]+ +", screen.text()), "no load")
        terminal.type("q")
        self.leave(terminal)

    def test_sizes(self):
        terminal = self.watch(self.endpoint)
        terminal.wait_for("metric.write")
        for columns, rows in ((200, 60), (80, 24), (40, 12), (20, 6), (8, 3), (1, 1), (300, 5), (120, 30)):
            with self.subTest(columns=columns, rows=rows):
                terminal.resize(columns, rows)
                entire = columns >= 60 and rows >= 20
                terminal.wait(lambda screen: screen.fits and ("q quit" if entire else "b")[:columns] in screen.text(),
                              "a picture of that size")
                if entire:
                    for service in SERVICES:
                        self.assertIn(service, terminal.screen.text())
        terminal.type("q")
        self.leave(terminal)

    def test_a_picture_of_the_size_before(self):
        """Of the screen itself: one may still come after the size has changed, a second one is a fault."""
        wide = "\x1b[H" + 40 * "b"
        for first in (wide, wide[:10]):
            screen = Screen(40, 4)
            screen.feed("\x1b[?1049h\x1b[?7l" + wide)
            screen.resize(20, 4)
            self.assertFalse(screen.fits)
            screen.feed(first)
            self.assertEqual(screen.fits, first != wide)
            with self.assertRaises(AssertionError):
                screen.feed(wide)
        with self.assertRaises(AssertionError):
            Screen(20, 4).feed("\x1b[?1049h\x1b[?7l" + wide)

    def test_what_80_columns_show(self):
        """All that one looks for first, and help without a line that is cut."""
        terminal = self.watch(self.endpoint, columns=80, rows=24)
        terminal.wait(lambda screen: " left" in screen.text() and "quarantine" in screen.text())
        text = terminal.screen.text()
        for part in (" up ", "clients ", "connections ", "descriptors ", "memory ", "dropped ", " left\n", "in quarantine"):
            self.assertIn(part, text)
        self.assertRegex(text, r"SERVICE\S +BUSY +QUEUED +REQ/S +P50 +P99 +OUT/S")
        self.assertRegex(text, r"WORKER +SERVICE\S +LOAD +REQ/S +AGE +HEARD")
        terminal.type("h")
        terminal.wait_for("more columns.")
        told = re.sub(r"\s+", " ", terminal.screen.text())
        for part in ("WAIT99 (of times in the queue) are those", "HEARD: since the last sign of life."):
            self.assertIn(part, told)
        terminal.type("q")
        self.leave(terminal)

    def test_signals_end_it(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(number=number):
                terminal = self.watch(self.endpoint)
                terminal.wait_for("metric.write")
                terminal.type("\x03") if number == signal.SIGINT else terminal.process.send_signal(number)
                self.leave(terminal)

    def test_a_crash_gives_the_terminal_back(self):
        for number in (signal.SIGSEGV, signal.SIGABRT):
            terminal = self.watch(self.endpoint)
            terminal.wait_for("metric.write")
            terminal.process.send_signal(number)
            self.assertNotEqual(terminal.end(), 0)
            self.assertTrue(terminal.is_restored())

    def test_stopped_and_continued(self):
        """Under a shell: Ctrl-Z, fg."""
        terminal = Terminal("bash", "--norc", "--noprofile", "--noediting", "-i", env={"PS1": "ready> "})
        self.addCleanup(terminal.close)
        terminal.wait_for("ready>")
        terminal.type(f"{harness.PROGRAM} status --watch --connect {self.endpoint} --interval 200ms\n")
        terminal.wait_for("q quit")
        for time in (1, 2):
            terminal.type("\x1a")
            terminal.wait(lambda screen: not screen.modes["alternate"], "the shell")
            self.assertTrue(terminal.screen.modes["cursor"])
            terminal.type("echo $((40 + 2))\n")
            terminal.wait_for("42")
            terminal.type("fg\n")
            terminal.wait(lambda screen: screen.modes["alternate"] and "q quit" in screen.text(), "the picture again")
        terminal.type("q")
        terminal.wait(lambda screen: not screen.modes["alternate"], "the shell")
        terminal.type("exit 7\n")
        self.assertEqual(terminal.end(), 7)


class Scripted(Watched):
    """With a broker that says what it is told to."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.said = [stats()]
        self.asked = 0
        self.bus.answer = self.answer
        self.spool = {"jobs": 3, "bytes": 2048, "oldest_age_s": 7300, "quarantined": 1, "waiting": 1, "settings": 0,
                      "held": 2, "last_error": "it \x1b[31mfailed"}
        self.store = {"bytes": 3 << 30, "log_bytes": 4 << 20, "free_bytes": 0, "disk_free_bytes": 5 << 20}

    def answer(self, bus, peer, service, request):
        if service == b"mmi.service":
            bus.mmi(peer, service, b"200")
        elif service == b"mmi.stats":
            said = self.said[min(self.asked, len(self.said) - 1)]
            self.asked += 1
            if said is not None:
                bus.mmi(peer, service, b"200", said if isinstance(said, bytes) else pack(said))
        else:
            bus.final(peer, service, request, payload=pack(self.spool if service == b"metric.feedback" else self.store))

    def served(self, name):
        return {name: {"workers": 1, "capacity": 1, "busy": 0, "queued": 0, "requests": 0}}

    def test_numbers(self):
        counts = [[50, 0], [100, 900], [1000, 90], [300000000, 10]]
        more = {"requests": 1000, "errors": 5, "bytes_in": 2048000, "bytes_out": 1 << 30, "queued": 3, "busy": 6}
        busy = stats(uptime_ms=7000, query={**more, "took": counts, "waited": counts}, more=self.served("metric.feedback"))
        busy["workers"][0].update(requests=1007, held=6, age_ms=4100)
        self.said = [stats(), busy]
        terminal = self.watch(self.bus.endpoint, "--interval", "1h")
        row = terminal.wait(lambda screen: re.search(r"(?m)^. metric.query .*1000.*$|(?m:^! metric.query .*)",
                                                     screen.text())).group(0)
        self.assertEqual(row.split(), ["!", "metric.query", "1", "6/6", "3", "500", "78µs", "1.00ms", "1.00ms", "2.5",
                                       "0.98", "MiB", "512", "MiB"])
        text = terminal.screen.text()
        self.assertRegex(text, r"(?m)^ +1  metric.query +6/6 +500 +4.0s +4.1s$")
        terminal.wait_for("! no worker serves metric.write")
        terminal.wait_for("store 3.00 GiB, of it free 0 B; its log 4.00 MiB; its disk has 5.00 MiB left")
        terminal.wait_for("spool 3 jobs (1 waiting, 0 settings, 2 held), 2.00 KiB, oldest 2h, 1 in quarantine")
        terminal.wait_for("last error: it ?[31mfailed")
        bad, warned = terminal.screen.styled("31"), terminal.screen.styled("33")
        for part in ("!", "2.5", "5.00 MiB", "no worker serves metric.write"):
            self.assertIn(part.replace(" ", ""), bad.replace(" ", ""))
        for part in ("6/6", "3", "4.1s"):
            self.assertIn(part, warned)
        terminal.type("q")
        self.leave(terminal)

    def test_a_store_without_a_file(self):
        """One in PostgreSQL, of which only the size is known."""
        self.store = {"bytes": 3 << 30}
        self.said = [stats()]
        self.assertRegex(harness.run("status", "--connect", self.bus.endpoint).out, "(?m)^store 3.00 GiB$")

    def test_names_of_strangers(self):
        service = {"workers": 1, "capacity": 1, "busy": 0, "queued": 0, "requests": 0}
        names = [HOSTILE, b"long" * 60, "größer Ωж".encode(), "幅\u202e\u0301".encode()]
        workers = [{"service": HOSTILE, "name": HOSTILE, "number": 5, "capacity": 1, "held": 0, "requests": 0}]
        self.said = [stats(more={name: service for name in names}, workers=workers)]
        once = harness.run("status", "--connect", self.bus.endpoint, env={"LC_ALL": "C"})
        self.assertIsNone(re.search(r"[^\n\x20-\x7e]", once.out))
        self.assertEqual(once.out.count("evil?]0;owned??[2J?"), 2)
        self.assertEqual(once.out.count("evil?]0;owned??"), 3)
        terminal = self.watch(self.bus.endpoint)  # which fails on a sequence that is none of ours
        for name in ("  evil?]0;owned??[2J?…  ", "  größer Ωж  ", "  longlonglonglonglon…  ", "  ???  "):
            terminal.wait_for(name)
        terminal.type("q")
        self.leave(terminal)
        plain = self.watch(self.bus.endpoint, env={"LC_ALL": "C"})
        for name in ("  gr??er ??  ", "  longlonglonglonglon~  "):
            plain.wait_for(name)
        self.assertTrue(plain.screen.text().isascii())
        plain.type("q")
        self.leave(plain)

    def test_colours(self):
        self.said = [stats(query={"workers": 0, "queued": 3})]
        for env, styles in (({}, {"31", "33", "1", "2"}), ({"NO_COLOR": "1"}, {"1", "2"})):
            terminal = self.watch(self.bus.endpoint, env=env)
            terminal.wait_for("no worker serves metric.query")
            self.assertEqual(terminal.screen.styles(), styles)
            self.assertRegex(terminal.screen.text(), r"(?m)^! metric.query ")
            terminal.type("q")
            self.leave(terminal)
        for term in ("dumb", ""):  # what cannot move its cursor gets it once
            terminal = self.watch(self.bus.endpoint, env={"TERM": term})
            self.leave(terminal)
            self.assertNotIn(b"\x1b", terminal.raw)
            self.assertIn(b"metric.query", terminal.raw)

    def test_keys(self):
        names = {f"s{n:02}": {"workers": 1, "capacity": 10, "busy": n % 7, "queued": 0, "requests": 0} for n in range(40)}
        self.said = [stats(more=names)]
        terminal = self.watch(self.bus.endpoint, rows=30)
        terminal.wait_for("of 41")

        def shown():
            return re.findall(r"(?m)^  (s\d\d|metric.query) ", terminal.screen.text())

        def press(key, first, what):
            terminal.type(key)
            terminal.wait(lambda screen: shown()[:len(first)] == first, f"{what}: {shown()}")
        press("j", ["s00", "s01"], "one row down")
        press("\x1b[B", ["s01", "s02"], "another, by the arrow")
        press("kkkk", ["metric.query", "s00"], "up")
        press("r", ["s39", "s38"], "the other way round")
        press("r>>", ["s06", "s13"], "the busiest first")
        press("r", ["s00", "s07"], "the least busy first")
        press("\x1b[D\x1b[D", ["metric.query", "s00"], "by name again")
        terminal.type("\t>")  # the workers
        terminal.wait(lambda screen: re.search(r"NAME▼", screen.text()), "sorted workers")
        terminal.type("h")
        terminal.wait_for("the other table")
        terminal.type("?")
        terminal.wait(lambda screen: "the other table" not in screen.text(), "the tables")
        terminal.type("x\x1bOZ\x1b[17~\x00")  # keys without a meaning
        asked = self.asked
        terminal.type(" ")
        harness.wait_until(lambda: self.asked > asked, what="a look at once")
        terminal.type("q")
        self.leave(terminal)

    def test_without_keys(self):
        with open("/dev/null", "rb") as nothing:
            terminal = self.watch(self.bus.endpoint, stdin=nothing)
        terminal.wait_for("metric.query")
        terminal.process.send_signal(signal.SIGTERM)
        self.leave(terminal)

    def test_a_terminal_that_goes(self):
        terminal = self.watch(self.bus.endpoint)
        terminal.wait_for("metric.query")
        os.close(terminal.master)
        terminal.master = os.open("/dev/null", os.O_RDONLY)
        self.assertEqual(terminal.process.wait(20), 0)

    def test_broker_that_says_nonsense(self):
        """Whatever it says, the picture stays one."""
        nonsense = [b"", b"\xc1", pack(5), pack({}), pack({"services": 3, "workers": "x", "dropped": [1]}),
                    pack({"services": {1: 2, "a": {"took": [[1, 2], [1, 2]]}, b"\xff\x1b[5m": {"took": [[5]] * 40}}}),
                    pack({"workers": [1, {"number": -7}, {"service": HOSTILE, "name": HOSTILE, "number": 1 << 63}]}),
                    pack(stats(uptime_ms=-5, memory=1 << 63, query={"requests": -1, "busy": 1 << 62, "capacity": -1})),
                    pack(stats())[:90], pack(stats(uptime_ms=1)), pack(stats(uptime_ms=2, query={"requests": 9}))]
        self.said = [said for said in nonsense for _ in range(2)] + [stats()]
        terminal = self.watch(self.bus.endpoint, "--interval", "100ms")
        harness.wait_until(lambda: terminal.pump() or self.asked > len(self.said) + 3, what="all of it", timeout=60)
        terminal.wait_for("metric.query")
        terminal.type("q")
        self.leave(terminal)

    def test_right_that_is_missing(self):
        self.bus.answer = lambda bus, peer, service, request: bus.mmi(
            peer, service, b"200" if service == b"mmi.service" else b"403")
        terminal = self.watch(self.bus.endpoint)
        self.leave(terminal, status=1)
        self.assertIn("metricmq: ", terminal.screen.text())


class Rights(Watched):
    def test_of_a_key(self):
        """What it may not ask for is not known, and asked for once only: each time is counted, logged and an alert."""
        keys = self.folder / "keys"
        for words in (("server",), ("client", "some", "--rights", "admin"), ("client", "all", "--rights", "admin,read,feedback")):
            harness.run("keygen", "--curve", keys, *words)
        program = harness.up(self.folder / "data", "--curve", keys)
        self.addCleanup(program.stop)

        def options(name):
            return "--curve-key", keys / f"clients/{name}.cert_secret", "--curve-server", keys / "server.cert"

        def status(name, *args):
            return harness.run("status", "--connect", program.ready["clients"], *options(name), *args).out

        def denied():
            return json.loads(status("all", "--format", "json"))["broker"]["dropped"]["denied"]
        self.assertNotIn("not known", status("all"))
        for line in ("store not known: this key has no right to read", "spool not known: this key has no right to feedback"):
            self.assertIn(line, status("some"))
        before = denied()
        terminal = self.watch(program.ready["clients"], "--interval", "100ms", *options("some"))
        terminal.wait(lambda screen: "no right to read" in screen.text() and "no right to feedback" in screen.text())
        uptime = terminal.screen.lines()[0]
        terminal.wait(lambda screen: screen.lines()[0] != uptime, "a further answer")
        terminal.type("q")
        self.leave(terminal)
        self.assertEqual(denied() - before, 2)


class Broker(Watched):
    def test_gone_and_back(self):
        start = lambda bind: harness.Program("broker", "--bind", bind, "--bind-workers", harness.LOCAL)
        broker = start(harness.LOCAL)
        endpoint = broker.ready["clients"]
        terminal = self.watch(endpoint)
        terminal.wait(lambda screen: " up " in screen.text() and "no worker serves metric.query" in screen.text())
        broker.kill()
        terminal.wait_for("no answer for ")
        self.assertIn("no answer for", terminal.screen.text())
        broker = start(endpoint)
        self.addCleanup(broker.stop)
        terminal.wait(lambda screen: "no answer" not in screen.text() and " up " in screen.text(), "the answer")
        terminal.type("q")
        self.leave(terminal)

    def test_none_at_the_start(self):
        terminal = self.watch("tcp://127.0.0.1:1", "--timeout", "300ms")
        self.leave(terminal, status=1)
        self.assertIn("no broker answers", terminal.screen.text())


if __name__ == "__main__":
    harness.main()
