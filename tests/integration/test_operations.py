"""What operators watch metricmq with: alerts, dashboard and nginx's configuration, each against the real program."""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import unittest

import harness
from exposition import Metrics

OPS = harness.SOURCE / "ops"
RULES = OPS / "prometheus" / "metricmq.rules.yml"
TESTS = RULES.with_name("metricmq.test.yml")
DASHBOARD = OPS / "grafana" / "metricmq.json"
OPERATIONS = harness.SOURCE / "docs" / "operations.md"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SELECTOR = re.compile(r"\b((?:metricmq|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
OF_PROMETHEUS = {"job", "instance"}  # labels that it adds


def promtool(*args):
    return subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True, timeout=120)


def alerts():
    """[(name, expression, text)] of the rules, in their order."""
    found = []
    for text in re.split(r"\n *- alert: ", RULES.read_text())[1:]:
        name = text.split("\n", 1)[0].strip()
        expr = re.search(r"\n +expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", text)
        found.append((name, (expr.group(1) or expr.group(2)).strip(), text))
    return found


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def queries():
    """Expressions of the dashboard, as Grafana would send them."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


class Metric(harness.Case):
    """What expressions name is what a live program shows."""

    @classmethod
    def setUpClass(cls):
        program = harness.up(harness.temporary_folder(cls) / "data")
        cls.addClassCleanup(program.stop)
        harness.http_get(program, "/_models")  # a route shows with its first request
        harness.http_get(program, "/_models/nobody")
        cls.live = Metrics(harness.http_get(program, "/metrics")[2])

    def check(self, expr):
        names = SELECTOR.findall(expr)
        self.assertTrue(names or re.match(r'up\{job="metricmq"\}', expr), expr)
        for name, matchers in names:
            with self.subTest(name=name):
                series = [dict(labels) for sample, labels in self.live.samples if sample == name]
                self.assertTrue(series, f"/metrics has no {name}")
                for label, how, value in MATCHER.findall(matchers):
                    if label in OF_PROMETHEUS:
                        continue
                    self.assertIn(label, series[0])
                    if label != "code":  # statuses show with their first answer
                        wanted = re.compile(value if how in ("=~", "!~") else re.escape(value))
                        self.assertTrue(any(wanted.fullmatch(one[label]) for one in series), f"{name} {label} {value}")
        for labels in re.findall(r"\bby \(([^)]*)\)", expr):
            for label in re.split(r",\s*", labels):
                known = {label for labels in self.live.series() for label, _ in labels[1]}
                self.assertIn(label, known | OF_PROMETHEUS)

    def test_alerts_name_what_there_is(self):
        for name, expr, _ in alerts():
            with self.subTest(alert=name):
                self.check(expr)

    def test_dashboard_names_what_there_is(self):
        for title, expr in queries():
            with self.subTest(panel=title, expr=expr):
                self.check(expr)

    def test_the_check_finds_what_is_missing(self):
        broken = ["metricmq_nothing > 1", 'metricmq_up{part="moon"}', "sum by (colour) (metricmq_up)", "vector(1)",
                  'metricmq_up{colour="red"}']
        for expr in broken:
            case = type(self)("test_alerts_name_what_there_is")
            result = unittest.TestResult()
            case.test_alerts_name_what_there_is = lambda case=case, expr=expr: case.check(expr)
            case.run(result)
            self.assertEqual(len(result.failures) + len(result.errors) > 0, True, expr)


@unittest.skipIf(harness.SLOW, "rules are the same, however the program was built")
class Alerts(unittest.TestCase):
    def setUp(self):
        harness.require("promtool")

    def test_rules_are_good(self):
        for args in (("check", "rules", RULES), ("test", "rules", TESTS)):
            done = promtool(*args)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_rule_that_is_changed_fails_its_tests(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="metricmq-test-"))
        self.addCleanup(shutil.rmtree, folder)
        shutil.copy(TESTS, folder)
        text = RULES.read_text()
        self.assertEqual(text.count("> 3600\n"), 1)
        (folder / RULES.name).write_text(text.replace("> 3600\n", "> 36000\n"))
        done = promtool("test", "rules", folder / TESTS.name)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("MetricmqSpoolOld", done.stdout + done.stderr)

    def test_each_is_tested_and_explained(self):
        quiet, firing = TESTS.read_text().split("\n  - interval:", 2)[1:]
        self.assertIn("exp_samples: []", quiet)
        found = alerts()
        self.assertGreater(len(found), 15)
        for name, expr, text in found:
            with self.subTest(alert=name):
                self.assertIn(f'alertname="{name}"', firing)
                for metric in re.findall(r"\b((?:metricmq|process)_\w+|up)(?=\{| )", re.sub(r"\bby \(.*?\)", "", expr)):
                    self.assertIn(f"series: '{metric}{{", quiet, "where nothing fires it must have been looked at")
                self.assertRegex(text, r"labels: \{severity: (critical|warning)\}")
                for key in ("summary", "description"):
                    self.assertRegex(text, rf'\n          {key}: ".{{20,}}"')
                self.assertIn(f'runbook: "docs/operations.md#{name.lower()}"', text)
        sections = re.split(r"(?m)^### (Metricmq\w+)$", OPERATIONS.read_text())
        self.assertEqual(sections[1::2], [name for name, _, _ in found])
        for name, section in zip(sections[1::2], sections[2::2]):
            section = re.split(r"(?m)^#", section)[0]
            self.assertRegex(section, r"\S", name)
            self.assertIn("\n**Do:** ", section, name)

    def test_what_the_document_configures(self):
        """The files that it shows for Prometheus are right."""
        count = 0
        for block in re.findall(r"(?ms)^```yaml\n(.*?)^```$", OPERATIONS.read_text()):
            with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
                file.write(block.replace("/usr/share/doc/metricmq/examples/prometheus", str(RULES.parent)))
                file.flush()
                done = promtool("check", "config", file.name)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout, r"SUCCESS: \d+ rules found")
            count += 1
        self.assertEqual(count, 1)


@unittest.skipIf(harness.SLOW, "it is the same, however the program was built")
class Dashboard(unittest.TestCase):
    def test_queries_are_good(self):
        """promtool has no check of expressions, so each becomes a rule."""
        harness.require("promtool")
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as rules:
            json.dump({"groups": [{"name": "dashboard", "rules": [
                {"record": f"query:{n}", "expr": expr} for n, (_, expr) in enumerate(queries())]}]}, rules)
            rules.flush()
            done = promtool("check", "rules", rules.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_form(self):
        """What Grafana 9.5 and later want of a dashboard."""
        board = json.loads(DASHBOARD.read_text())
        self.assertEqual((board["title"], board["uid"], board["schemaVersion"]), ("metricmq", "metricmq", 38))
        variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
        self.assertEqual(variables, {"datasource": "datasource", "instance": "query"})
        self.assertNotIn("id", board)  # Grafana gives it one
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))
        taken = set()
        for panel in board["panels"]:
            with self.subTest(panel=panel["title"]):
                self.assertIn(panel["type"], ("timeseries", "stat"))
                self.assertTrue(panel["title"] and panel["description"])
                self.assertIn(panel["fieldConfig"]["defaults"]["unit"],
                              ("s", "bytes", "Bps", "reqps", "cps", "percentunit", "none"))
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertTrue(at["x"] + at["w"] <= 24 and not cells & taken)
                taken |= cells
                refs = [target["refId"] for target in panel["targets"]]
                self.assertEqual(len(set(refs)), len(refs))
                for target in panel["targets"]:
                    self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                    self.assertTrue(target["legendFormat"])


class Nginx(harness.Case):
    """An nginx of our own with ops/nginx/metricmq.conf, as whoever runs the tests, in a temporary folder."""

    ROWS = 200000

    def setUp(self):
        super().setUp()
        harness.require(NGINX, "openssl")
        self.program = harness.up(self.folder / "data", "--http-host", "metrics.example")
        self.addCleanup(self.end)
        harness.run("demo", "--connect", self.program.ready["clients"], "--metrics", "1", "--rows", self.ROWS)
        self.port = self.start()
        self.address = f"metrics.example:{self.port}"

    def end(self):
        if self.program.process.returncode is None:
            self.program.stop()
        self.program.close()

    def start(self):
        certificate, key = self.folder / "tls.crt", self.folder / "tls.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "1", "-subj", "/CN=metrics.example", "-addext", "subjectAltName=DNS:metrics.example",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = (OPS / "nginx" / "metricmq.conf").read_text()
        for old, new in (("server 127.0.0.1:8080;", f"server {self.program.ready['http'].removeprefix('http://')};"),
                         ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"), ("/etc/metricmq/tls.crt;", f"{certificate};"),
                         ("/etc/metricmq/tls.key;", f"{key};"), ("/var/log/nginx/metricmq.log", f"{self.folder}/access.log")):
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        temporary = "".join(f"{kind}_temp_path {self.folder};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr;\n"
            f"events {{ worker_connections 256; }}\nhttp {{ access_log off; gzip on;\n{temporary}{text}}}\n")
        command = [NGINX, "-p", self.folder, "-c", configuration, "-e", "stderr"]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertNotIn("[warn]", checked.stderr.replace('[warn] the "user" directive', ""))
        with open(self.folder / "nginx.log", "wb") as log:
            nginx = subprocess.Popen(command, stderr=log)
        self.addCleanup(nginx.wait, 20)
        self.addCleanup(nginx.terminate)
        self.trust = ssl.create_default_context(cafile=certificate)

        def listens():
            self.assertIsNone(nginx.poll(), (self.folder / "nginx.log").read_text())
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                return True
        harness.wait_until(listens, what="nginx")
        return port

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 60)
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.sock = self.trust.wrap_socket(raw, server_hostname="metrics.example")
        self.addCleanup(connection.close)
        return connection

    def get(self, path, headers=None, connection=None):
        connection = connection or self.connect()
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def metric(self, name):
        return Metrics(harness.http_get(self.program, "/metrics")[2]).get(name)

    def lines(self, **wanted):
        """The adapter's lines of requests with these values."""
        return [line for line in self.program.errors().splitlines() if "msg=request " in line
                and all(f" {key}={value} " in f"{line} " for key, value in wanted.items())]

    def test_answers_pass_as_they_are(self):
        connection = self.connect()
        status, headers, models = self.get("/_models", connection=connection)
        self.assertEqual(status, 200)
        self.assertEqual(self.get("/_models", {"If-None-Match": headers["ETag"]}, connection)[0], 304)
        path = f"/_models/{json.loads(models)[0]['uid']}/data?anomaly=-1"
        direct = harness.http_get(self.program, path, {"Accept": "application/octet-stream"})[2]
        status, headers, body = self.get(path, {"Accept": "application/octet-stream"}, connection)
        self.assertEqual((status, headers.get("Transfer-Encoding"), body), (200, "chunked", direct))
        self.assertGreater(len(body), 5 << 20)
        status, headers, body = self.get(path, {"Accept-Encoding": "gzip"}, connection)
        self.assertEqual((status, headers["Content-Encoding"]), (200, "gzip"))
        self.assertEqual(len(json.loads(gzip.decompress(body))["data"]), self.ROWS)
        for origin, wanted in ((f"https://{self.address}", 200), ("https://elsewhere.example", 403)):
            self.assertEqual(self.get("/_models", {"Origin": origin}, connection)[0], wanted, origin)
        self.assertLessEqual(self.metric("metricmq_http_connections_accepted_total"), 8)  # nginx keeps its own

    def test_the_adapter_has_the_last_word_on_sizes(self):
        """What it would take gets to it; what it refuses is refused with its sentence, not nginx's page."""
        head = {"X-Large": "x" * 10000}
        for path, headers, wanted in (("/_models", head, 200), ("/_models", {**head, "X-Larger": "x" * 10000}, 431),
                                      ("/_models?from=" + "1" * 9000, {}, 414)):
            status, answer, body = self.get(path, headers)
            self.assertEqual((status, list(json.loads(body)) if wanted != 200 else wanted),
                             (wanted, ["result"] if wanted != 200 else wanted), body[:200])
        connection = self.connect()
        connection.request("POST", "/_logging/feedback", body=b" " * (1 << 21))
        refused = connection.getresponse()
        self.assertEqual((refused.status, list(json.loads(refused.read()))), (413, ["result"]))
        # Of a body that fits nowhere nginx reads the length and hangs up.
        connection = self.connect()
        connection.putrequest("POST", "/_models")
        connection.putheader("Content-Length", str((32 << 20) + 1))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)

    def test_metrics_are_not_for_all(self):
        for path in ("/metrics", "/metrics/", "/metrics?x", "//metrics", "/%6detrics", "/metrics%2f", "/x/../metrics//"):
            self.assertEqual(self.get(path)[0], 403, path)
        self.assertEqual(self.get("/health/ready")[0], 200)

    def test_addresses_and_traces(self):
        """nginx's log has the client's address; its trace leads to the adapter's line."""
        self.get("/_models", {"X-Request-Id": "ours-1", "X-Forwarded-For": "192.0.2.1"})
        self.get("/_models", {"X-Request-Id": "no good"})
        self.get("/_models")

        def of_nginx():
            return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]
        entries = harness.wait_until(lambda: len(of_nginx()) == 3 and of_nginx(), what="nginx's lines")
        self.assertEqual({entry["address"] for entry in entries}, {"127.0.0.1"})
        self.assertEqual([entry["trace"] for entry in entries][:2], ["ours-1", "no good"])
        self.assertRegex(entries[2]["trace"], "^[0-9a-f]{32}$")
        for entry in (entries[0], entries[2]):
            harness.wait_until(lambda entry=entry: self.lines(trace=entry["trace"], status=200), what=entry["trace"])
        self.assertEqual(len(self.lines(path="/_models", address="127.0.0.1")), 3)

    def test_a_stream_goes_on_as_it_comes_and_breaks_as_one(self):
        """Nothing is held back in nginx; what breaks off behind it, breaks off before it."""
        connection = self.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request("GET", "/_models/data?anomaly=-1")
        answer = connection.getresponse()
        self.assertTrue(answer.read(1000))
        self.assertEqual(self.metric("metricmq_http_streams"), 1)  # the adapter waits for the reader
        self.program.kill()
        with self.assertRaises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            while answer.read(1 << 16):
                pass
            if not answer.isclosed():
                raise AssertionError("no end")


if __name__ == "__main__":
    harness.main()
