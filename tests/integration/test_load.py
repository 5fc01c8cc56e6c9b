"""`metricmq load`: what it finds good, what it finds wrong, and how it says so."""
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree

import msgpack
import zmq

import harness
from fake_bus import NAMES, FakeBus, pack, rows

RECORD = {"uid": "u", "last_rowid": 100, "last_timestamp": "2013-08-15 23:00:00", "poll_interval": 60}
DOCUMENT = (harness.SOURCE / "docs" / "load.md").read_text()


def load(*args, status=0, **options):
    """The JSON report of a run that must end with that exit status."""
    done = harness.run("load", "--json", "--warmup", "0", *args, check=False, **options)
    if done.returncode != status:
        raise AssertionError(f"exit {done.returncode}, not {status}\n{done.out}\n{done.err}")
    return json.loads(done.out)


class Broker(harness.Case):
    """Against a real broker."""

    def setUp(self):
        super().setUp()
        self.start()
        self.addCleanup(lambda: self.broker.process.returncode is None and self.broker.stop())
        self.ends = ["--connect", self.broker.ready["clients"], "--connect-workers", self.broker.ready["workers"]]

    def start(self, clients=harness.LOCAL, workers=harness.LOCAL, *args):
        self.broker = harness.Program("broker", "--bind", clients, "--bind-workers", workers, *args)

    def echo(self, *args, **options):
        return load("--op", "echo", *self.ends, *args, **options)


class Echo(Broker):
    def test_closed_loop(self):
        report = self.echo("--workers", "3", "--capacity", "8", "--clients", "5", "--concurrency", "20",
                           "--duration", "2s", "--seed", "42")
        total = report["total"]
        self.assertEqual((report["loop"], report["concurrency"], report["clients"], report["seed"]),
                         ("closed", 20, 5, 42))
        self.assertGreater(total["good"], 100)
        self.assertEqual((total["requests"], total["errors"], report["never_answered"]), (total["good"], {}, 0))
        self.assertEqual(total["bytes"], 64 * total["good"])
        self.assertEqual(report["stray_answers"], 0)
        self.assertEqual(len(report["series"]), 2)
        self.assertAlmostEqual(sum(second["good"] for second in report["series"]), total["good"], delta=20)
        self.assertTrue(report["good"])

    def test_open_loop_with_stock_workers(self):
        """One that is asked more than it can answer: latency counts from when requests were due."""
        report = self.echo("--workers", "1", "--service-time", "10ms", "--clients", "10", "--rate", "200",
                           "--duration", "2s", "--size", "1000")
        total = report["total"]
        self.assertEqual((report["loop"], report["rate"], total["requests"]), ("open", 200, 400))
        self.assertEqual(total["errors"], {})
        # 100 a second are answered: the last one is due at 2 s and answered at 4 s
        self.assertGreater(total["latency_ms"]["max"], 1500)
        self.assertGreater(total["latency_ms"]["p50"], 500)

    def test_latencies_are_in_order(self):
        latency = self.echo("--workers", "2", "--rate", "500", "--duration", "1s")["total"]["latency_ms"]
        ordered = [latency[key] for key in ("min", "p50", "p90", "p99", "p99.9", "p99.99", "max")]
        self.assertEqual(ordered, sorted(ordered))
        self.assertGreater(ordered[0], 0)

    def test_document_names_each_key(self):
        report = self.echo("--workers", "1", "--rate", "100", "--duration", "500ms")
        keys = set(report) | set(report["total"]) | set(report["total"]["latency_ms"]) | set(report["series"][0])
        self.assertEqual({key for key in keys if f"`{key}`" not in DOCUMENT}, set())
        faults = re.findall(r'\[MMQ_FAULT_\w+\] = "(\w+)"',
                            (harness.SOURCE / "clients" / "load" / "tally.c").read_text())
        self.assertGreater(len(faults), 10)
        self.assertEqual({key for key in faults if key != "none" and f"`{key}`" not in DOCUMENT}, set())

    def test_text(self):
        done = harness.run("load", "--op", "echo", *self.ends, "--workers", "1", "--duration", "300ms", "--warmup", "0")
        self.assertRegex(done.out, r"seed \d+, 0.3 s counted")
        self.assertRegex(done.out, r"\necho +\d+ +\d+( +[0-9.]+){6}\n")
        self.assertIn("errors: none\nnever answered: 0\n", done.out)
        self.assertEqual(done.err, "")

    def test_no_worker(self):
        done = harness.run("load", "--op", "echo", *self.ends, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no worker serves load.echo", done.err)

    def test_workers_of_another_process(self):
        with harness.Program("load", "--clients", "0", "--workers", "20", *self.ends) as workers:
            self.assertEqual((workers.ready["workers"], workers.ready["service"]), ("20", "load.echo"))
            report = self.echo("--clients", "40", "--duration", "1s")
            self.assertGreater(report["total"]["good"], 100)
            self.assertEqual(report["served_by_workers"], 0)

    def test_workers_find_a_broker_that_returns(self):
        """F3: workers are READY again soon after a broker was killed and started."""
        clients, workers = self.broker.ready["clients"], self.broker.ready["workers"]
        with harness.Program("load", "--clients", "0", "--workers", "10", "--capacity", "4", *self.ends):
            self.broker.kill()
            self.start(clients, workers)
            harness.wait_until(lambda: self.broker.errors().count("worker ready") >= 10, what="all workers")
            self.echo("--clients", "10", "--duration", "300ms")

    def test_workers_without_a_broker_wait(self):
        """They look out for one that stays away, longer than its silence is borne with (3 s), and take no CPU for it."""
        with harness.Program("load", "--clients", "0", "--workers", "10", "--capacity", "4", *self.ends) as workers:
            self.broker.kill()
            began = time.monotonic()

            def spent_s():
                fields = pathlib.Path(f"/proc/{workers.process.pid}/stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            harness.wait_until(lambda: time.monotonic() > began + 3.2, what="that time")
            before, since = spent_s(), time.monotonic()
            harness.wait_until(lambda: time.monotonic() > since + 1, what="a second")
            self.assertLess(spent_s() - before, 0.3 * (time.monotonic() - since))

    def test_workers_for_a_time(self):
        harness.run("load", "--clients", "0", "--workers", "2", *self.ends, "--duration", "200ms")

    def test_overload_is_reported(self):
        """F26: a full queue refuses at once, and the report says how often."""
        self.broker.stop()
        self.start(harness.LOCAL, harness.LOCAL, "--queue-max", "5")
        report = load("--op", "echo", "--connect", self.broker.ready["clients"], "--connect-workers",
                      self.broker.ready["workers"], "--workers", "1", "--service-time", "20ms", "--rate", "300",
                      "--duration", "1s", status=1)
        self.assertEqual(set(report["total"]["errors"]), {"503"})
        self.assertGreater(report["total"]["errors"]["503"], 100)
        self.assertGreater(report["total"]["goodput_per_second"], 0)
        self.assertEqual(report["never_answered"], 0)

    def stall(self, who, after, length):
        """The report of 2 s at 500 a second, while that process is stopped for a time."""
        process = subprocess.Popen(
            [harness.PROGRAM, "load", "--json", "--op", "echo", *self.ends, "--workers", "1", "--rate", "500",
             "--duration", "2s", "--warmup", "0"], stdout=subprocess.PIPE)
        harness.wait_until(lambda: "worker ready" in self.broker.errors(), what="the load")
        begin = time.monotonic()
        pid = process.pid if who == "load" else self.broker.process.pid
        harness.wait_until(lambda: time.monotonic() > begin + after)
        os.kill(pid, signal.SIGSTOP)
        harness.wait_until(lambda: time.monotonic() > begin + after + length)
        os.kill(pid, signal.SIGCONT)
        out = process.communicate(timeout=60)[0]
        report = json.loads(out)
        self.assertEqual(process.returncode, 0, (report["total"], self.broker.errors()[-4000:]))
        return report

    def test_broker_stalls(self):
        """F9: all requests that were due during the stall have it in their latency."""
        report = self.stall("broker", 0.5, 1)
        self.assertEqual((report["total"]["requests"], report["total"]["good"]), (1000, 1000))
        self.assertGreater(report["total"]["latency_ms"]["max"], 900)
        self.assertGreater(report["total"]["latency_ms"]["p90"], 700)

    def test_generator_stalls(self):
        """Over its own end: what was due meanwhile is sent late, and counted so."""
        report = self.stall("load", 1, 2)
        self.assertEqual((report["total"]["requests"], report["total"]["good"]), (1000, 1000))
        self.assertGreater(report["total"]["latency_ms"]["max"], 1500)
        self.assertGreater(report["lag_ms"]["max"], 1500)

    def test_signal_ends_it_early(self):
        process = subprocess.Popen(
            [harness.PROGRAM, "load", "--json", "--op", "echo", *self.ends, "--workers", "2", "--duration", "10m",
             "--warmup", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stat = pathlib.Path(f"/proc/{process.pid}/stat")
        harness.wait_until(lambda: int(stat.read_text().split()[13]) > 20, what="0.2 s of work")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        report = json.loads(out)
        self.assertEqual((process.returncode, report["stopped"], err), (0, True, b""))
        self.assertLess(report["duration_s"], 60)
        self.assertGreater(report["total"]["good"], 0)

    def test_progress_on_a_terminal(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([harness.PROGRAM, "load", "--op", "echo", *self.ends, "--workers", "1",
                                    "--duration", "1s", "--warmup", "300ms"], stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        drawn = b""
        try:
            while block := os.read(master, 65536):
                drawn += block
        except OSError:  # the other end is closed
            pass
        os.close(master)
        self.assertEqual(process.wait(30), 0)
        self.assertRegex(drawn, rb"warming up")
        self.assertRegex(drawn, rb"\r\x1b\[K\d+ s  \d+/s  p50 [\d.]+ [mu]?s  p99 [\d.]+ [mu]?s  errors 0")
        self.assertTrue(drawn.endswith(b"\r\x1b[K"))


class Mix(harness.Case):
    """Against everything, with demo data."""

    def setUp(self):
        super().setUp()
        self.up = harness.up(self.folder / "data")
        self.addCleanup(self.up.stop)
        self.connect = ["--connect", self.up.ready["clients"]]

    def test_without_metrics(self):
        done = harness.run("load", *self.connect, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("`metricmq demo`", done.err)

    def test_all_kinds(self):
        harness.run("demo", *self.connect, "--metrics", "8", "--rows", "3000")
        plot = self.folder / "plot.svg"
        report = load(*self.connect, "--mix", "small=5,day=4,dump=1", "--clients", "8", "--duration", "3s",
                      "--plot", plot)
        self.assertEqual(set(report["kinds"]), {"small", "day", "dump"})
        kinds = report["kinds"]
        self.assertEqual(kinds["small"]["rows"], kinds["small"]["good"])
        self.assertEqual(kinds["dump"]["rows"], 3000 * kinds["dump"]["good"])
        self.assertGreater(kinds["day"]["rows"], 200 * kinds["day"]["good"])
        for name in ("requests", "good", "rows", "bytes", "pages"):
            self.assertEqual(report["total"][name], sum(kind[name] for kind in kinds.values()))
        self.assertGreaterEqual(report["total"]["pages"], report["total"]["good"])
        root = xml.etree.ElementTree.parse(plot).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("metricmq load: small=5,day=4,dump=1", texts)

    def test_appends_meanwhile(self):
        """Streams show the store as of their first page: more rows than at the start are no fault, fewer are."""
        harness.run("demo", *self.connect, "--metrics", "2", "--rows", "1000")
        more = threading.Thread(target=harness.run, args=("demo", *self.connect, "--metrics", "2", "--rows", "200000"))
        more.start()
        report = load(*self.connect, "--mix", "small=1,day=1,dump=1", "--clients", "4", "--duration", "2s")
        more.join()
        self.assertEqual(report["total"]["errors"], {})

    def test_plot_that_cannot_be_written(self):
        """Told before the run, not after it."""
        done = harness.run("load", *self.connect, "--duration", "1h", "--plot", self.folder / "none" / "plot.svg",
                           check=False, timeout=20)
        self.assertEqual((done.returncode, done.out), (2, ""))
        self.assertIn("--plot: cannot write", done.err)


class Scripted(harness.Case):
    """Against a bus that answers wrongly: each fault is found, by its name."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.bus.mmi_status = b"200"

    def faults(self, *args, requests=20):
        report = load("--connect", self.bus.endpoint, "--timeout", "1s", "--clients", "1", "--rate", requests,
                      "--duration", "1s", *args, status=1)
        total = report["total"]
        self.assertEqual(total["requests"], requests)
        self.assertEqual(total["requests"], total["good"] + sum(total["errors"].values()))
        self.assertEqual(report["never_answered"], 0)
        self.assertFalse(report["good"])
        return total["errors"]

    # ---- rows

    def dump(self, page, **options):
        """What is said of dumps that are answered with that payload."""
        def answer(bus, peer, service, request):
            if request["op"] == "models":
                bus.final(peer, service, request, payload=pack(RECORD))
            else:
                bus.final(peer, service, request, payload=page, **options)
        self.bus.answer = answer
        return self.faults("--mix", "dump=1")

    def descending(self, *rowids):
        return b"".join(rows("u", n, 1) for n in rowids)

    def test_rows_repeated(self):
        page = self.descending(*range(100, 49, -1), *range(50, 0, -1))
        self.assertEqual(self.dump(pack(NAMES) + page), {"repeated_rows": 20})

    def test_rows_lost(self):
        self.assertEqual(self.dump(pack(NAMES) + self.descending(*range(100, 1, -1))), {"missing_rows": 20})

    def test_rows_reordered(self):
        page = self.descending(*range(100, 51, -1), 50, 51, *range(49, 0, -1))
        self.assertEqual(self.dump(pack(NAMES) + page), {"wrong_order": 20})

    def test_rows_of_another(self):
        page = self.descending(*range(100, 0, -1)) + rows("v", 0, 1)
        self.assertEqual(self.dump(pack(NAMES) + page), {"foreign_rows": 20})

    def test_names_twice(self):
        page = self.descending(*range(100, 50, -1)) + pack(NAMES) + self.descending(*range(50, 0, -1))
        self.assertEqual(self.dump(pack(NAMES) + page), {"wrong_names": 20})

    def test_bytes_that_are_no_rows(self):
        self.assertEqual(self.dump(pack(NAMES) + b"\xc1"), {"malformed": 20})

    def test_refused(self):
        self.assertEqual(self.dump(None, status=500, error="no"), {"500": 20})

    def test_no_end(self):
        def answer(bus, peer, service, request):
            if request["op"] == "models":
                bus.final(peer, service, request, payload=pack(RECORD))
            elif "cursor" in request:
                bus.final(peer, service, request, status=410, error="gone")
            else:
                bus.final(peer, service, request, payload=pack(NAMES) + rows("u", 1, 1), next="c")
        self.bus.answer = answer
        self.assertEqual(self.faults("--mix", "dump=1"), {"no_end": 20})

    def test_stream_that_never_ends(self):
        """Each page makes progress: only the timeout of the whole ends it."""
        def answer(bus, peer, service, request):
            if request["op"] == "models":
                bus.final(peer, service, request, payload=pack(RECORD))
            else:
                cursor = int(request.get("cursor", 0)) + 1
                bus.final(peer, service, request, payload=pack(NAMES) if cursor == 1 else None, next=str(cursor))
        self.bus.answer = answer
        self.assertEqual(self.faults("--mix", "day=1", requests=3), {"timeout": 3})

    def test_small_wants_one_row(self):
        def answer(bus, peer, service, request):
            if request["op"] == "models":
                bus.final(peer, service, request, payload=pack(RECORD))
            else:
                self.assertEqual((request["uid"], request["limit"], request["anomaly"]), ("u", 1, -1))
                bus.final(peer, service, request, payload=pack(NAMES) + self.descending(100, 99))
        self.bus.answer = answer
        self.assertEqual(self.faults("--mix", "small=1"), {"extra_rows": 20})

    def test_days_never_shrink(self):
        """The day's rows are remembered: an answer with fewer is found."""
        seen = []

        def answer(bus, peer, service, request):
            if request["op"] == "models":
                bus.final(peer, service, request, payload=pack({**RECORD, "last_rowid": 1}))
                return
            seen.append(request)
            self.assertEqual(request["to"], request["from"] + 86399)
            count = 5 if len(seen) == 1 else 4
            page = b"".join(pack(["u", request["from"] + n, 1.0, None, n + 1]) for n in range(count))
            bus.final(peer, service, request, payload=pack(NAMES) + page)
        self.bus.answer = answer
        self.assertEqual(self.faults("--mix", "day=1"), {"missing_rows": 19})

    # ---- echoes

    def test_wrong_bytes(self):
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, payload=b"x" * 64)
        self.assertEqual(self.faults("--op", "echo"), {"wrong_body": 20})

    def test_answer_to_another(self):
        """Right in size, and an answer that was right once."""
        kept = []

        def answer(bus, peer, service, request):
            kept.append(request["data"].encode())
            bus.final(peer, service, request, payload=kept[0])
        self.bus.answer = answer
        self.assertEqual(self.faults("--op", "echo"), {"wrong_body": 19})

    def test_lost_answers(self):
        def answer(bus, peer, service, request):
            self.count += 1
            if self.count % 2:
                bus.final(peer, service, request, payload=request["data"].encode())
        self.count = 0
        self.bus.answer = answer
        self.assertEqual(self.faults("--op", "echo"), {"timeout": 10})

    def test_doubled_answers(self):
        def answer(bus, peer, service, request):
            for _ in range(2):
                bus.final(peer, service, request, payload=request["data"].encode())
        self.bus.answer = answer
        report = load("--connect", self.bus.endpoint, "--op", "echo", "--rate", "20", "--duration", "1s", status=1)
        self.assertEqual((report["total"]["errors"], report["total"]["good"]), ({}, 20))
        self.assertGreaterEqual(report["stray_answers"], 19)

    def test_statuses(self):
        def answer(bus, peer, service, request):
            self.count += 1
            bus.final(peer, service, request, status=(503, 504, 429, 404)[self.count % 4], error="no")
        self.count = 0
        self.bus.answer = answer
        self.assertEqual(self.faults("--op", "echo"), {"404": 5, "429": 5, "503": 5, "504": 5})

    def test_retries(self):
        """With --retry a refusal is not the end."""
        def answer(bus, peer, service, request):
            self.count += 1
            if self.count % 2:
                bus.final(peer, service, request, status=503, error="busy")
            else:
                bus.final(peer, service, request, payload=request["data"].encode())
        self.count = 0
        self.bus.answer = answer
        report = load("--connect", self.bus.endpoint, "--op", "echo", "--retry", "--rate", "10", "--duration", "1s")
        self.assertEqual(report["total"]["good"], 10)


class FakeWorkersEnd(harness.Case):
    """The workers, seen by a broker."""

    def setUp(self):
        super().setUp()
        self.router = zmq.Context.instance().socket(zmq.ROUTER)
        self.router.linger = 0
        self.addCleanup(self.router.close)
        port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def start(self, *args):
        program = harness.Program("load", "--clients", "0", "--connect-workers", self.endpoint, *args, wait=False)
        self.addCleanup(program.stop)
        return program

    def receive(self, command):
        """The next message of that command, without peer and magic."""
        while True:
            if not self.router.poll(20000):
                raise AssertionError(f"no {command}")
            peer, magic, got, *frames = self.router.recv_multipart()
            self.assertEqual(magic, b"MDPW02")
            if got == command:
                return peer, frames

    def request(self, peer, id, data):
        self.router.send_multipart([peer, b"MDPW02", b"\x02", b"t%d" % id, b"",
                                    pack({"id": id, "op": "echo", "data": data})])

    def test_stock_ready(self):
        self.start("--workers", "1", "--service", "some.echo")
        _, frames = self.receive(b"\x01")
        self.assertEqual(frames, [b"some.echo"])
        self.receive(b"\x05")

    def test_capacity_and_answers(self):
        self.start("--workers", "1", "--capacity", "7")
        peer, frames = self.receive(b"\x01")
        self.assertEqual(frames, [b"load.echo", b"7"])
        for id in range(5):
            self.request(peer, id, "abc")
        for id in range(5):
            _, (token, empty, header, payload) = self.receive(b"\x04")
            self.assertEqual((token, empty, payload), (b"t%d" % id, b"", b"abc"))
            self.assertEqual(msgpack.unpackb(header), {"id": id, "status": 200, "rows": None, "seq": 0, "next": None,
                                                       "error": None, "state": None})

    def test_disconnect_is_followed_by_ready(self):
        """F2: a worker that was sent away registers anew, over another connection."""
        self.start("--workers", "1")
        peer, _ = self.receive(b"\x01")
        self.router.send_multipart([peer, b"MDPW02", b"\x06"])
        again, _ = self.receive(b"\x01")
        self.assertNotEqual(again, peer)

    def test_silence_is_followed_by_ready(self):
        """F9: a broker that says nothing for 3 s is left, and found again."""
        self.start("--workers", "1", "--capacity", "2")
        peer, _ = self.receive(b"\x01")
        again, _ = self.receive(b"\x01")
        self.assertNotEqual(again, peer)

    def test_requests_are_signs_of_life(self):
        """A bare forwarder sends no heartbeats."""
        self.start("--workers", "1", "--capacity", "2")
        peer, _ = self.receive(b"\x01")
        for id in range(5):  # one with each heartbeat of the worker: longer than a silence may be
            self.receive(b"\x05")
            self.request(peer, id, "x")
            self.assertEqual(self.receive(b"\x04")[0], peer)

    def test_nonsense_is_dropped(self):
        self.start("--workers", "1")
        peer, _ = self.receive(b"\x01")
        for frames in ([b""], [b"MDPW02"], [b"MDPW02", b"\x09"], [b"MDPW02", b"\x02"], [b"MDPW02", b"\x02", b"t", b""],
                       [b"MDPC02", b"\x02", b"t", b"", b"x"], [b"MDPW02", b"\x02", b"t", b"", b"\xc1"]):
            self.router.send_multipart([peer, *frames])
        self.request(peer, 9, "still here")
        answers = [self.receive(b"\x04")[1] for _ in range(2)]
        self.assertEqual([answer[0] for answer in answers], [b"t", b"t9"])
        self.assertEqual(answers[1][3], b"still here")


class Forwarder(harness.Case):
    def test_bare_forwarder(self):
        """A process that passes requests on and knows neither mmi nor heartbeats can be measured."""
        context = zmq.Context.instance()
        ends = [context.socket(zmq.ROUTER) for _ in range(2)]
        ports = [end.bind_to_random_port("tcp://127.0.0.1") for end in ends]
        stopping = threading.Event()

        def forward():
            clients, workers = ends
            known, turn, asked = [], 0, {}
            poller = zmq.Poller()
            for end in ends:
                poller.register(end, zmq.POLLIN)
            while not stopping.is_set():
                for end, _ in poller.poll(20):
                    frames = end.recv_multipart()
                    if end is workers and frames[2] == b"\x01":
                        known.append(frames[0])
                    elif end is workers and frames[2] == b"\x04":
                        clients.send_multipart([asked.pop(frames[3]), b"MDPC02", b"\x03", b"load.echo", *frames[5:]])
                    elif end is clients and not frames[3].startswith(b"mmi."):
                        turn += 1
                        token = b"%d" % turn
                        asked[token] = frames[0]
                        workers.send_multipart([known[turn % len(known)], b"MDPW02", b"\x02", token, b"", frames[4]])
            for end in ends:
                end.close(0)
        thread = threading.Thread(target=forward)
        thread.start()
        try:
            report = load("--op", "echo", "--connect", f"tcp://127.0.0.1:{ports[0]}", "--connect-workers",
                          f"tcp://127.0.0.1:{ports[1]}", "--workers", "3", "--clients", "4", "--duration", "1s")
        finally:
            stopping.set()
            thread.join()
        self.assertGreater(report["total"]["good"], 10)
        self.assertEqual(report["total"]["errors"], {})


class Usage(harness.Case):
    def refused(self, *args, status=2):
        done = harness.run("load", *args, check=False)
        self.assertEqual((done.returncode, done.out), (status, ""))
        self.assertEqual(done.err.count("\n"), 1)
        return done.err

    def test_usage(self):
        self.assertIn("exclude each other", self.refused("--rate", "5", "--concurrency", "5"))
        self.assertIn("--rate", self.refused("--rate", "0"))
        self.assertIn("--rate", self.refused("--rate", "-1"))
        self.assertIn("--rate", self.refused("--rate", "nan"))
        self.assertIn("--mix", self.refused("--mix", "small=1,large=2"))
        self.assertIn("--mix", self.refused("--op", "echo", "--mix", "small=1"))
        self.assertIn("--workers", self.refused("--workers", "2"))
        self.assertIn("--clients 0", self.refused("--clients", "0"))
        self.assertIn("--clients", self.refused("--clients", "10001"))
        self.assertIn("--workers", self.refused("--workers", "1001"))
        self.assertIn("--op", self.refused("--op", "dump"))
        self.assertIn("--connect", self.refused("--op", "echo", "--connect", "tcp://127.0.0.1:99999"))
        self.assertIn("--connect-workers",
                      self.refused("--op", "echo", "--workers", "1", "--connect-workers", "nowhere"))

    def test_too_few_descriptors(self):
        done = subprocess.run(["/bin/sh", "-c", 'ulimit -n 100; exec "$0" load --op echo --clients 100',
                               harness.PROGRAM], capture_output=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"100 clients and 0 workers need", done.stderr)

    def test_help_lists_all(self):
        text = harness.run("load", "--help").out
        for option in ("op", "mix", "size", "clients", "concurrency", "rate", "workers", "capacity", "service-time",
                       "service", "retry", "duration", "warmup", "timeout", "seed", "json", "plot", "connect",
                       "connect-workers"):
            self.assertIn(f"--{option}", text)

    def test_nobody_listens(self):
        """A broker that is not there: each request ends in an error, none is forgotten."""
        report = load("--op", "echo", "--connect", "tcp://127.0.0.1:1", "--timeout", "300ms", "--rate", "50",
                      "--duration", "500ms", status=1)
        self.assertEqual((report["total"]["requests"], report["never_answered"]), (25, 0))
        self.assertEqual(report["total"]["errors"], {"timeout": 25})


if __name__ == "__main__":
    harness.main()
