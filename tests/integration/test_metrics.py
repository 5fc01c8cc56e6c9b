"""/metrics: what is counted is what was done, strangers add no series, and silent parts do not hold it up."""
import json
import socket
import struct
import subprocess
import time

import zmq

import harness
from bus import Bus
from exposition import Metrics
from fake_bus import NAMES, FakeBus, pack, rows

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SERVICES = {"metric.query", "metric.write", "metric.feedback", "metric.watch", "other"}


class Scraped(harness.Case):
    def get(self, path, **options):
        return harness.http_get(self.program, path, **options)

    def scrape(self, **options):
        status, headers, body = self.get("/metrics", **options)
        self.assertEqual((status, headers["Content-Type"]), (200, TYPE))
        done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""), body.decode())
        return Metrics(body)

    def wait_for(self, condition, what):
        """The first scrape for which condition(metrics) holds."""
        def look():
            metrics = self.scrape()
            return condition(metrics) and metrics
        return harness.wait_until(look, what=what)

    def connect(self):
        host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
        peer = socket.create_connection((host, int(port)), timeout=30)
        self.addCleanup(peer.close)
        return peer


class Whole(Scraped):
    """The whole program."""

    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)
        csv = self.folder / "m.csv"
        csv.write_text("timestamp,value,anomaly_score\n" +
                       "".join(f"2013-08-15 21:{n:02}:00,{n}.5,0.25\n" for n in range(60)))
        harness.run("import", "--connect", self.program.ready["clients"], "--uid", "u", csv)

    def test_counts_are_those_of_the_requests(self):
        asked = [("data", "/_models/u/data", "GET", None, 200, 7), ("data", "/_models/u/data", "HEAD", None, 200, 2),
                 ("data", "/_models/u/data?limit=x", "GET", None, 400, 3), ("all_data", "/_models/data", "GET", None, 200, 2),
                 ("models", "/_models/", "GET", None, 200, 1), ("model", "/_models/u", "GET", None, 200, 1),
                 ("model", "/_models/nobody", "GET", None, 404, 4), ("model", "/_models/u", "BREW", None, 405, 2),
                 ("feedback", "/_logging/feedback", "POST", b"{", 400, 2),
                 ("feedback", "/_logging/feedback", "POST", b'{"uid": "u"}', 200, 1),
                 ("feedback", "/_logging/feedback", "POST", b" " * (1 << 21), 413, 1),
                 ("none", "/nowhere", "GET", None, 404, 5), ("live", "/health/live", "GET", None, 200, 3),
                 ("ready", "/health/ready", "GET", None, 200, 3), ("page", "/", "GET", None, 200, 1),
                 ("openapi", "/openapi.json", "GET", None, 200, 2)]
        before = self.scrape()
        counts, bytes = {}, {}
        for route, path, method, body, status, times in asked:
            for _ in range(times):
                got, _, answer = self.get(path, method=method, body=body)
                self.assertEqual(got, status, (method, path))
                counts[route, str(status)] = counts.get((route, str(status)), 0) + 1
                bytes[route] = bytes.get(route, 0) + len(answer)
        after = self.scrape()
        for (route, code), count in counts.items():
            name = "metricmq_http_requests_total"
            self.assertEqual(after.get(name, route=route, code=code) - before.get(name, route=route, code=code), count,
                             (route, code))
        for route, size in bytes.items():
            name = "metricmq_http_response_body_bytes_total"
            self.assertEqual(after.get(name, route=route) - before.get(name, route=route), size, route)
            total = sum(count for (of, _), count in counts.items() if of == route)
            for kind in ("wait", "duration"):
                _, buckets = after.histogram(f"metricmq_http_request_{kind}_seconds", route=route)
                self.assertEqual(sum(buckets), total)
            wait = after.get("metricmq_http_request_wait_seconds_sum", route=route)
            whole = after.get("metricmq_http_request_duration_seconds_sum", route=route)
            self.assertTrue(0 < wait <= whole < 60 * total, (route, wait, whole))
        self.assertEqual(after.get("metricmq_http_requests_total", route="metrics", code="200"), 1)
        self.assertGreaterEqual(after.get("metricmq_http_connections_accepted_total") -
                                before.get("metricmq_http_connections_accepted_total"), sum(counts.values()))

    def test_parts(self):
        metrics = self.scrape()
        for part in ("broker", "spool", "store"):
            self.assertEqual(metrics.get("metricmq_up", part=part), 1)
        self.assertEqual(metrics.get("metricmq_store_bytes"), (self.folder / "data/metricmq.db").stat().st_size)
        self.assertGreater(metrics.get("metricmq_store_disk_free_bytes"), 0)
        self.assertEqual(metrics.labels("metricmq_service_workers", "service"), SERVICES)
        for service in SERVICES - {"other"}:
            self.assertEqual(metrics.get("metricmq_service_workers", service=service), 1)
        self.assertEqual(metrics.labels("metricmq_spool_state_jobs", "state"), {"waiting", "settings", "held"})
        version = harness.run("--version").out.split()[1]
        self.assertEqual(metrics.labels("metricmq_build_info", "version"), {version})
        self.assertLess(abs(metrics.get("process_resident_memory_bytes") - self.program.rss()), 16 << 20)
        self.assertLess(abs(metrics.get("process_open_fds") - self.program.descriptors()), 8)
        self.assertGreater(metrics.get("process_max_fds"), metrics.get("process_open_fds"))
        self.assertGreater(metrics.get("process_cpu_seconds_total"), 0)
        self.assertLess(abs(time.time() - metrics.get("process_start_time_seconds")), 600)

        def asked(metrics):
            return metrics.get("metricmq_service_requests_total", service="metric.query")
        before = asked(metrics)
        for _ in range(5):
            self.get("/_models/u/data")
        looks = []
        after = self.wait_for(lambda metrics: looks.append(1) or asked(metrics) >= before + 5, "five requests")
        self.assertLessEqual(asked(after), before + 5 + 1 + len(looks))  # a scrape asks for the store's size
        for name in ("metricmq_service_duration_seconds", "metricmq_service_wait_seconds"):
            bounds, counts = after.histogram(name, service="metric.query")
            self.assertEqual((bounds[0], bounds[4], bounds[-1], sum(counts)),
                             ("0.00005", "0.001", "+Inf", asked(after)))
        took = after.get("metricmq_service_duration_seconds_sum", service="metric.query")
        self.assertTrue(0 < took < 60, took)
        self.assertLess(after.get("metricmq_service_wait_seconds_sum", service="metric.query"), took)
        self.assertEqual(after.get("process_start_time_seconds"), metrics.get("process_start_time_seconds"))

    def test_any_accept_gets_this_form(self):
        for accept in ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "*/*"):
            self.scrape(headers={"Accept": accept})
        status, headers, body = self.get("/metrics", method="HEAD")
        self.assertEqual((status, headers["Content-Type"], body), (200, TYPE, b""))

    def test_strangers_add_no_series(self):
        """Paths, methods, uids and service names are chosen by strangers."""
        def provoke(name):
            path = "/" + name
            for method in ("GET", name.upper()[:12]):
                self.assertIn(self.get(path, method=method)[0], (404, 405))
                self.assertIn(self.get(f"/_models/{name}", method=method)[0], (404, 405))
                self.assertIn(self.get(f"/_models/{name}/data?{name}=1", method=method)[0], (200, 405))
            self.get(f"/_models/%ff{name}")
            worker = zmq.Context.instance().socket(zmq.DEALER)
            worker.linger = 0
            worker.connect(self.program.ready["workers"])
            worker.send_multipart([b"MDPW02", b"\x01", name.encode() + b'"}1\\'])
            self.addCleanup(worker.close)
            with Bus(self.program.ready["clients"]) as client:
                client.send(name, {"op": "x", "timeout": 1})
                client.receive()
        provoke("first")
        before = self.wait_for(lambda metrics: metrics.get("metricmq_service_workers", service="other") == 1, "a worker")
        for n in range(20):
            provoke(f"x{n}y")
        # a worker that sends no heartbeat is forgotten after 10 s, a service without one when nobody asks it any more
        after = self.wait_for(lambda metrics: metrics.get("metricmq_service_workers", service="other") >= 2, "the rest")
        new = {key for key in after.series() - before.series() if ("route", "metrics") not in key[1]}
        self.assertEqual(new, set())
        self.assertNotIn("x7y", str(after.samples))


class Scripted(Scraped):
    """The adapter, with a bus that does as it is told."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.program = harness.Program("http", "--connect", self.bus.endpoint, "--http", "127.0.0.1:0",
                                       "--timeout", "3s", "--stall-timeout", "3s", "--drain-timeout", "1s")
        self.addCleanup(self.program.stop)

    def endless(self, bus, peer, service, request):
        if service == b"metric.query":
            bus.final(peer, service, request, payload=rows("a", 1, 20000), next=f"c{len(bus.seen)}")

    def test_silent_bus(self):
        began = time.monotonic()
        metrics = self.scrape()
        self.assertLess(time.monotonic() - began, 5)
        for part in ("broker", "spool", "store"):
            self.assertEqual(metrics.get("metricmq_up", part=part), 0)
        families = set(metrics.families)
        self.assertFalse({name for name in families
                          if any(part in name for part in ("broker", "service", "spool", "store"))})
        self.assertTrue({"metricmq_http_requests_total", "metricmq_http_connections",
                         "process_resident_memory_bytes"} <= families | {"metricmq_http_requests_total"})

    def test_scrapes_share_one_set_of_calls(self):
        held = []
        self.bus.answer = lambda bus, peer, service, request: held.append((peer, service, request))
        peers = [self.connect() for _ in range(20)]
        for peer in peers:
            peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        harness.wait_until(lambda: len(held) == 3, what="the questions")
        self.assertEqual(self.get("/health/live")[0], 200)
        for peer in peers:
            self.assertEqual(peer.recv(12), b"HTTP/1.1 200")  # after a second of silence
        self.assertEqual(len(held), 3)

    def test_streams_and_broken_answers(self):
        self.bus.answer = self.endless
        leaver, stalled = self.connect(), self.connect()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for peer in (leaver, stalled):
            peer.sendall(b"GET /_models/a/data HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(peer.recv(1000))
        metrics = self.scrape()
        self.assertEqual(metrics.get("metricmq_http_streams"), 2)
        self.assertEqual(metrics.get("metricmq_http_requests_under_way"), 3)
        self.assertEqual(metrics.get("metricmq_http_connections"), 3)
        self.assertGreater(metrics.get("metricmq_http_response_body_bytes_total", route="data"), 1000)
        self.assertEqual(metrics.get("metricmq_http_requests_total", route="data", code="200"), 0)
        leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        name = "metricmq_http_broken_answers_total"
        metrics = self.wait_for(lambda metrics: metrics.get(name, by="client") == 1 and
                                metrics.get(name, by="server") == 1, "both ends")
        self.assertEqual(metrics.get("metricmq_http_streams"), 0)
        self.assertEqual(metrics.get("metricmq_http_requests_total", route="data", code="200"), 2)

        def garbage(bus, peer, service, request):
            if service == b"metric.query":
                payload = b"\xc1" if "cursor" in request else pack(NAMES) + rows("a", 1, 10)
                bus.final(peer, service, request, payload=payload, next="c")
        self.bus.answer = garbage
        before = metrics.get(name, by="server")
        with self.assertRaises(Exception):
            self.get("/_models/a/data")
        self.wait_for(lambda metrics: metrics.get(name, by="server") == before + 1, "the reset")

    def test_client_that_leaves_before_there_is_an_answer(self):
        peer = self.connect()
        peer.sendall(b"POST /_logging/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        self.wait_for(lambda metrics: metrics.get("metricmq_http_requests_under_way") == 2, "the request")
        peer.close()
        self.wait_for(lambda metrics: metrics.get("metricmq_http_requests_total", route="feedback", code="none") == 1,
                      "its end")

    def test_statuses_are_bounded(self):
        """A worker may answer with any status."""
        for status in (418, 499, 599, 451, 204, 100):
            self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, status=status,
                                                                           error="x")
            self.get("/_models/a/data")
        self.bus.answer = None
        metrics = self.scrape()
        codes = metrics.labels("metricmq_http_requests_total", "code")
        self.assertTrue(codes <= {"other", "500", "503", "400", "204"}, codes)
        self.assertGreaterEqual(metrics.get("metricmq_http_requests_total", route="data", code="other"), 4)

    def test_answers_that_make_no_sense(self):
        latency = [[1, 5], [2, 6], [300000, 7]]
        took = [[50, 1], [100, 2], [300000000, 3]]
        good = {"uptime_ms": 1500, "clients": 3, "dropped": {"late": 2, 'x"\n': 5}, "memory": 4096,
                "services": {"metric.query": {"workers": 2, "latency": latency, "took_us": 1500000},
                             "a\n": {"workers": 1, "requests": 4, "latency": latency},
                             "b": {"workers": -1, "requests": "x", "latency": [[9, 9]]}}}
        spool = {"jobs": 7, "bytes": 99, "oldest_age_s": 12, "quarantined": 1, "waiting": 4, "settings": 2, "held": 1}
        fine = {"services": {"metric.query": {"took": took, "took_us": 3, "latency": latency, "waited": took,
                                              "waited_us": 2000000}, "x": {"took": latency, "waited": 3}}}
        store = {"bytes": 4096, "log_bytes": 10, "free_bytes": "x", "disk_free_bytes": 1 << 40}
        fine["bytes"] = 4096
        stats = [pack(good), pack(fine), b"", b"\xc1", pack(5), pack({"services": 5}), pack({"services": [1, 2]}),
                 pack({"services": {"metric.query": 1, 2: {"workers": 1}}}), pack(good)[:60],
                 pack({"services": {"x": {"latency": [[2, 1], [1, 1]]}}, "dropped": [1]}),
                 pack({"services": {"x": {"latency": [[n, 1] for n in range(100)]}}}),
                 pack({"uptime_ms": (1 << 63) - 1, "clients": 1 << 63, "services":
                       {"metric.query": {"workers": (1 << 63) - 1, "took_us": (1 << 63) - 1, "latency": latency}}})]
        current = None

        def answer(bus, peer, service, request):
            if service == b"mmi.stats":
                bus.mmi(peer, service, b"200", current)
            else:
                bus.final(peer, service, request, payload=current if current != stats[0] else
                          pack(spool if request["op"] == "spool" else store))
        self.bus.answer = answer
        for current in stats:
            time_asked = self.bus.mmi_count
            metrics = self.wait_for(lambda _: self.bus.mmi_count > time_asked, "a new set of questions")
            if current == stats[0]:
                self.assertEqual(metrics.get("metricmq_broker_uptime_seconds"), 1.5)
                self.assertEqual(metrics.get("metricmq_broker_dropped_total", reason="late"), 2)
                self.assertEqual(metrics.get("metricmq_service_workers", service="metric.query"), 2)
                self.assertEqual(metrics.get("metricmq_service_workers", service="other"), 0)
                self.assertEqual(metrics.get("metricmq_service_requests_total", service="other"), 4)
                name = "metricmq_service_duration_seconds"
                self.assertEqual(metrics.histogram(name, service="metric.query"),
                                 (["0.001", "0.002", "+Inf"], [5, 6, 7]))
                self.assertEqual(metrics.get(name + "_sum", service="metric.query"), 1.5)
                self.assertEqual([metrics.get(f"metricmq_store_{name}") for name in store], [4096, 10, 0, 1 << 40])
                self.assertEqual(metrics.get("metricmq_spool_jobs"), 7)
                self.assertEqual(metrics.get("metricmq_spool_oldest_age_seconds"), 12)
                self.assertEqual([metrics.get("metricmq_spool_state_jobs", state=state)
                                  for state in ("waiting", "settings", "held")], [4, 2, 1])
            if current == stats[1]:
                for name, sum in (("duration", 0.000003), ("wait", 2)):
                    self.assertEqual(metrics.histogram(f"metricmq_service_{name}_seconds", service="metric.query"),
                                     (["0.00005", "0.0001", "+Inf"], [1, 2, 3]))
                    self.assertEqual(metrics.get(f"metricmq_service_{name}_seconds_sum", service="metric.query"), sum)
                self.assertEqual([name for name, _ in metrics.series() if name.startswith("metricmq_store_")],
                                 ["metricmq_store_bytes"])  # of a store in PostgreSQL no more is known
        self.assertEqual(json.loads(self.get("/health/live")[2]), {"status": "ok"})


if __name__ == "__main__":
    harness.main()
