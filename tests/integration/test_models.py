"""POST, PUT and DELETE of /_models, exports and /_models/data/stats, through curl against the real program."""
import contextlib
import csv
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import threading
import time

import bus
import harness
from fake_bus import FakeBus, pack

CUSTOM = {"datasource": "custom", "metric": "cpu"}
CLOUD = {"datasource": "cloudwatch", "region": "us-west-2", "namespace": "AWS/EC2", "metric": "CPUUtilization",
         "dimensions": {"InstanceId": "i-12345678", "AutoScalingGroupName": "g"}}
MIB = 1 << 20


def curl(program, method, path, body=None, *args):
    """(status, content type, body) as curl has them."""
    done = subprocess.run(
        ["curl", "-s", "-S", "-X", method, "-w", "\n%{http_code} %{content_type}", "--max-time", "300",
         *(["--data-binary", "@-"] if body is not None else []), *args, program.ready["http"] + path],
        input=body, capture_output=True, timeout=320)
    if done.returncode != 0:
        raise AssertionError(f"curl {method} {path}: exit {done.returncode}: {done.stderr.decode()}")
    answer, _, end = done.stdout.rpartition(b"\n")
    status, _, kind = end.decode().partition(" ")
    return int(status), kind, answer


def time_text(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def big_import(metric, rows, start=1400000000):
    """A body with that many rows, exact decimals of 17 digits among them."""
    data = ",".join('[%r,"%s"]' % (n / 7, time_text(start + 60 * n)) for n in range(rows))
    return ('{"datasource":"custom","metric":"%s","data":[%s]}' % (metric, data)).encode()


class Models(harness.Case):
    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.stop)

    def curl(self, method, path, body=None, *args, program=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        status, kind, answer = curl(program or self.program, method, path, body, *args)
        self.assertEqual(kind, "application/json; charset=UTF-8")
        return status, answer

    def create(self, body, method="POST", program=None):
        status, answer = self.curl(method, "/_models", body, program=program)
        self.assertEqual(status, 201, answer)
        return json.loads(answer)

    def refused(self, status, body, names="", program=None):
        got, answer = self.curl("POST", "/_models", body, program=program)
        self.assertEqual(got, status, (str(body)[:300], answer))
        result = json.loads(answer)
        self.assertEqual(list(result), ["result"])
        self.assertIn(names, result["result"], str(body)[:300])
        return result["result"]

    def listed(self, program=None):
        status, answer = self.curl("GET", "/_models", program=program)
        self.assertEqual(status, 200)
        return json.loads(answer)

    def rows(self, uid, query="?anomaly=-1&from=0001-01-01", program=None):
        status, answer = self.curl("GET", f"/_models/{uid}/data{query}", program=program)
        self.assertEqual(status, 200)
        return json.loads(answer)["data"]

    def octets(self, path, program=None):
        status, _, body = harness.http_get(program or self.program, path, headers={"Accept": "application/octet-stream"})
        self.assertEqual(status, 200)
        return body


class Forms(Models):
    def test_custom(self):
        """The fields that creation makes, as the issue says them."""
        (record,) = self.create(CUSTOM)
        self.assertEqual(record.pop("uid"), "bf2251fd378c14c2b1931d64d26a9794")
        self.assertEqual(record, {
            "datasource": "custom", "name": "cpu", "description": "Custom metric cpu", "server": "cpu", "location": "",
            "parameters": {"datasource": "custom", "metricSpec": {"metric": "cpu"}, "modelParams": {}}, "status": 1,
            "message": None, "last_timestamp": None, "poll_interval": 300, "tag_name": None, "last_rowid": 0,
            "display_name": "cpu"})
        older = {"datasource": "custom", "metric": "mem", "unit": "Bytes", "resource": "host-1",
                 "userInfo": {"a": [1, None, "é"]}, "min": 0, "max": 100.5}
        newer = {"datasource": "custom", "metricSpec": {"metric": "mem2", "unit": "Bytes", "resource": "host-1",
                                                        "userInfo": {"a": [1, None, "é"]}},
                 "modelParams": {"min": 0, "max": 100.5}}
        for name, body in (("mem", older), ("mem2", newer)):
            (record,) = self.create(body, "PUT")
            self.assertEqual((record["name"], record["server"], record["display_name"], record["description"]),
                             (name, "host-1", "host-1", f"Custom metric {name}"))
            self.assertEqual(record["parameters"], {
                "datasource": "custom", "modelParams": {"min": 0, "max": 100.5},
                "metricSpec": {"metric": name, "unit": "Bytes", "resource": "host-1", "userInfo": {"a": [1, None, "é"]}}})
        self.assertEqual(sorted(one["name"] for one in self.listed()), ["cpu", "mem", "mem2"])

    def test_cloudwatch(self):
        (record,) = self.create(CLOUD)
        uid = record.pop("uid")
        self.assertRegex(uid, "^[0-9a-f]{32}$")
        self.assertEqual(record, {
            "datasource": "cloudwatch", "name": "AWS/EC2/CPUUtilization", "location": "us-west-2",
            "server": "us-west-2/AWS/EC2/i-12345678",
            "description": "CPUUtilization on EC2 instance i-12345678 in us-west-2 region",
            "parameters": {"InstanceId": "i-12345678", "AutoScalingGroupName": "g", "region": "us-west-2"}, "status": 1,
            "message": None, "last_timestamp": None, "poll_interval": 300, "tag_name": None, "last_rowid": 0,
            "display_name": "us-west-2/AWS/EC2/i-12345678"})
        # the order of dimensions does not matter, and the first to come stays
        turned = {**CLOUD, "dimensions": {"AutoScalingGroupName": "g", "InstanceId": "i-12345678"}}
        self.assertEqual(self.create(turned), [{"uid": uid, **record}])
        (other,) = self.create({"datasource": "cloudwatch", "metricSpec": {
            "region": "eu", "namespace": "AWS/ELB", "metric": "Latency/p99", "dimensions": {"LoadBalancer": "lb"}},
            "modelParams": {"min": 0}})
        self.assertEqual((other["name"], other["server"], other["description"]),
                         ("AWS/ELB/Latency/p99", "eu/AWS/ELB/lb", "Latency/p99 on AWS/ELB lb in eu region"))
        for change in ({"region": "eu"}, {"namespace": "AWS"}, {"metric": "x"}, {"dimensions": {"InstanceId": "i-2"}}):
            (made,) = self.create({**CLOUD, **change})
            self.assertNotEqual(made["uid"], uid)
        self.assertEqual(len(self.listed()), 6)

    def test_bus_creates_the_same(self):
        """Whoever creates a metric, it is the same one."""
        with bus.Bus(self.program.ready["clients"]) as client:
            client.call("metric.write", {"op": "create", "metric": {
                "datasource": "cloudwatch", "name": "AWS/EC2/CPUUtilization",
                "parameters": {"region": "us-west-2", "AutoScalingGroupName": "g", "InstanceId": "i-12345678"}}})
            client.call("metric.write", {"op": "create", "metric": {"datasource": "custom", "name": "cpu"}})
        uids = {one["uid"] for one in self.listed()}
        self.assertEqual({one["uid"] for one in self.create([CLOUD, CUSTOM])}, uids)
        self.assertEqual(len(uids), 2)

    def test_import(self):
        data = [[1, "2014-01-01 00:00:00"], [-0.0, "2014-01-01 00:05:00", 0.5, None],
                [0.30000000000000004, "0001-01-01 00:00:00", None, 0.25], [5e-324, "9999-12-31 23:59:59", 1, 1e-7],
                [9007199254740992, "2014-01-01 00:05:00", None, None], [1.7976931348623157e308, "1969-12-31 23:59:59"]]
        (record,) = self.create({**CUSTOM, "uid": "u.1", "data": data})
        self.assertEqual((record["uid"], record["last_rowid"], record["last_timestamp"]),
                         ("u.1", 6, "9999-12-31 23:59:59"))
        status, answer = self.curl("GET", "/_models/u.1/export")
        self.assertEqual(status, 200)
        (exported,) = json.loads(answer)
        self.assertEqual(exported.pop("data"), [row + [None] * (4 - len(row)) for row in data])
        self.assertIn(b"[-0.0,", answer)
        self.assertEqual([exported], self.listed())
        # the same again adds nothing, more adds the rest, an array may mix
        self.create({**CUSTOM, "uid": "u.1", "data": data})
        self.create([{"datasource": "custom", "metric": "other"}, {**CUSTOM, "uid": "u.1", "data": data + [data[0]]}])
        self.assertEqual(len(self.rows("u.1")), 7)
        self.create({**CUSTOM, "uid": "u.1", "data": []})
        self.create({**CUSTOM, "uid": "u.1", "data": None})
        self.assertEqual(len(self.rows("u.1")), 7)

    def test_existing(self):
        made = self.create([CUSTOM, CLOUD])
        self.assertEqual(self.create([CUSTOM, CLOUD]), made)
        self.assertEqual(self.create([CLOUD, CUSTOM]), made[::-1])
        self.assertEqual(self.create({**CUSTOM, "unit": "other", "description": "x", "status": 0}), made[:1])
        self.assertEqual(self.create({**CUSTOM, "uid": made[0]["uid"]}), made[:1])

    def test_conflicts(self):
        self.create({**CUSTOM, "uid": "u", "data": [[1, "2014-01-01 00:00:00"], [2, "2014-01-01 00:01:00"]]})
        before = self.curl("GET", "/_models/export")
        for body, names in (({**CUSTOM, "uid": "v"}, "under another uid, u"),
                            ({"datasource": "custom", "metric": "x", "uid": "u"}, "another metric"),
                            ({**CUSTOM, "uid": "u", "data": [[1, "2014-01-01 00:00:00"], [3, "2014-01-01 00:01:00"]]},
                             "rowid 2"),
                            ({**CUSTOM, "uid": "u", "data": [[1, "2014-01-01 00:00:01"]]}, "rowid 1")):
            self.refused(409, body, names)
            self.refused(409, [body], "element 1: ")
        self.assertEqual(self.curl("GET", "/_models/export"), before)

    def test_delete(self):
        self.create([{**CUSTOM, "uid": "u", "data": [[1, "2014-01-01 00:00:00"]]}, CLOUD])
        self.assertEqual(self.curl("DELETE", "/_models/u"), (200, b'{"result": "success"}'))
        gone = (404, b'{"result": "ObjectNotFoundError Metric not found: Metric ID: u"}')
        self.assertEqual(self.curl("DELETE", "/_models/u/"), gone)
        self.assertEqual(self.curl("GET", "/_models/u"), gone)
        self.assertEqual(self.curl("GET", "/_models/u/export"), gone)
        self.assertEqual(self.rows("u"), [])
        self.assertEqual(len(self.listed()), 1)
        for uid in ("data", "export", "a%2Fb", "a%27--", "x" * 101):
            self.assertEqual(self.curl("DELETE", f"/_models/{uid}")[0], 405 if uid in ("data", "export") else 400)
        # made again it is a new one
        (record,) = self.create({**CUSTOM, "uid": "u", "data": [[5, "2015-01-01 00:00:00"]]})
        self.assertEqual(record["last_rowid"], 1)
        self.assertEqual(self.rows("u"), [["2015-01-01 00:00:00", 5, None, 1]])

    def test_stats(self):
        def left():
            status, answer = self.curl("GET", "/_models/data/stats")
            self.assertEqual(status, 200)
            return json.loads(answer)
        self.assertEqual(left(), {"processing_time_remaining": 0})
        rows = [[n, time_text(n)] for n in range(1, 42)]
        self.create([{**CUSTOM, "data": rows}, {**CLOUD, "status": 0, "data": rows},
                     {"datasource": "custom", "metric": "done", "data": [[1, time_text(1), 0.5, 0.5]]}])
        self.assertEqual(left(), {"processing_time_remaining": 3})  # 41 rows times 0.05 s

    def test_methods(self):
        for method, path, allowed in (("DELETE", "/_models", "GET, HEAD, POST, PUT"),
                                      ("PUT", "/_models/u", "GET, HEAD, DELETE"),
                                      ("POST", "/_models/export", "GET, HEAD"),
                                      ("DELETE", "/_models/u/export", "GET, HEAD"),
                                      ("POST", "/_models/data/stats", "GET, HEAD")):
            status, headers, _ = harness.http_get(self.program, path, method=method)
            self.assertEqual((status, sorted(headers["Allow"].replace("OPTIONS, ", "").replace(", OPTIONS", "")
                                             .split(", "))), (405, sorted(allowed.split(", "))), (method, path))
        for path in ("/_models/export", "/_models/data/stats"):
            status, headers, body = harness.http_get(self.program, path, method="HEAD")
            self.assertEqual((status, headers["Content-Type"], body), (200, "application/json; charset=UTF-8", b""))


class Errors(Models):
    def test_missing(self):
        for body in (b"", b"  \n", b"[]", b"{}", b"null"):
            self.assertEqual(self.curl("POST", "/_models", body), (400, b'{"result": "Metric data is missing"}'), body)
        self.assertEqual(self.curl("PUT", "/_models"), (400, b'{"result": "Metric data is missing"}'))

    def test_nothing_is_made_of_what_is_wrong(self):
        """The sentence names element and field; elements before it are not made either. F40"""
        row = '"2014-01-01 00:00:00"'
        wrong = [("5", "body"), ('"x"', "body"), ("x", "JSON"), ('{"datasource":"custom","metric":"a"} x', "JSON"),
                 ('{"datasource":"custom"}', "metric"), ('{"metric":"a"}', "datasource"),
                 ('{"datasource":"custom","metric":"a","colour":1}', "colour"),
                 ('{"datasource":"custom","metric":"a","metric":"a"}', "JSON"),
                 ('{"datasource":"custom","metric":"a\\u0000"}', "JSON"),
                 ('{"datasource":"custom","metric":"a","min":NaN}', "JSON"),
                 ('{"datasource":"custom","metric":"a","max":1e999}', "JSON"),
                 ('{"datasource":"custom","metric":"a","uid":"../x"}', "uid"),
                 ('{"datasource":"custom","metric":"a","uid":"summary"}', "uid"),
                 ('{"datasource":"custom","metric":"a","status":7}', "status"),
                 ('{"datasource":"custom","metric":"a","data":{}}', "data"),
                 ('{"datasource":"custom","metric":"a","data":[[1]]}', '"data" row 1'),
                 (f'{{"datasource":"custom","metric":"a","data":[[1,{row},null]]}}', '"data" row 1'),
                 (f'{{"datasource":"custom","metric":"a","data":[[1,{row}],["1",{row}]]}}', '"data" row 2: the value'),
                 (f'{{"datasource":"custom","metric":"a","data":[[1,{row},0.5,"x"]]}}', "score"),
                 (f'{{"datasource":"custom","metric":"a","data":[[1e999,{row}]]}}', "JSON"),
                 ('{"datasource":"custom","metric":"a","data":[[1,"2014-01-01"]]}', "time"),
                 ('{"datasource":"cloudwatch","region":"r","namespace":"n","metric":"m"}', "dimensions"),
                 ('{"datasource":"cloudwatch","region":"r","namespace":"n","metric":"m","dimensions":{}}', "dimensions"),
                 ("[" * 1000000, "JSON"), ('{"a":' * 100000, "JSON"), ("[1" + "0" * 100000 + "]", "JSON")]
        for text, names in wrong:
            self.refused(400, text.encode(), names)
            if names not in ("JSON", "body") :
                self.refused(400, b'[{"datasource":"custom","metric":"first"},' + text.encode() + b"]",
                             "element 2: ")
        for body in (b"\xef\xbb\xbf{}", b"\xff\xfe", b'{"datasource":"custom","metric":"\xff"}'):
            self.refused(400, body, "JSON")
        self.refused(400, [CUSTOM, CLOUD, CUSTOM], "elements 1 and 3 are the same metric")
        self.refused(400, [{**CUSTOM, "uid": "x"}, {**CLOUD, "uid": "x"}], "elements 1 and 2")
        self.refused(400, [CUSTOM, {**CLOUD, "data": [[1, "2014-01-01 00:00:00"]] * 3000 + [[1, "x"]]}],
                     'element 2: "data" row 3001: the time')
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.curl("GET", "/_models/export"), (200, b"[]"))

    def test_sizes(self):
        """32 MiB are taken, a byte more is not; other routes have their own bound; too many metrics are told."""
        head = b'{"datasource":"custom","metric":"a"'
        for size, status in ((32 * MIB, 201), (32 * MIB + 1, 413), (39 * MIB, 413)):
            got, _ = self.curl("POST", "/_models", head + b" " * (size - len(head) - 1) + b"}", "-H", "Expect:")
            self.assertEqual(got, status, size)
        for size in (32 * MIB + 1, 1 << 30):  # told before it is sent
            host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=30) as peer:
                peer.sendall(f"POST /_models HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
                             "Expect: 100-continue\r\n\r\n".encode())
                self.assertEqual(peer.recv(4096)[:12], b"HTTP/1.1 413")
        status, _, _ = harness.http_get(self.program, "/_logging/feedback", method="POST", body=b" " * (2 * MIB))
        self.assertEqual(status, 413)
        many = [{"datasource": "custom", "metric": f"m{n}"} for n in range(32769)]
        self.refused(413, many, "32768")
        self.assertEqual(len(self.listed()), 1)


class Roundtrip(Models):
    def fill(self, random):
        """Metrics of every form, with rows of every kind; NAB's files where they are."""
        kinds = (lambda: random.gauss(0, 1e3), lambda: random.randrange(-5, 5), lambda: -0.0,
                 lambda: random.random() * 10 ** random.randrange(-300, 300), lambda: 5e-324)
        elements = []
        for n in range(25):
            base = {"datasource": "custom", "metric": f"m {n} é\"\\", "unit": "u", "userInfo": {"n": [n, 0.1]}}
            if n % 3 == 0:
                base = {**CLOUD, "metric": f"m/{n}"}
            elements.append({**base, **({"uid": f"uid-{n}"} if n % 2 else {}), "tag_name": "t" if n % 4 == 0 else None,
                             "status": (1, 2, 4, 8)[n % 4], "message": "x\ny" if n % 5 == 0 else None, "data": [
                [random.choice(kinds)(), time_text(random.randrange(1300000000, 1300100000)),
                 *random.choice([(), (None, None), (random.random(), None), (None, 0.5), (random.random(), 1)])]
                for _ in range(random.choice([0, 1, 50, 3000]))]})
        if harness.NAB.is_dir():
            for path in sorted(pathlib.Path(harness.NAB).glob("*/*.csv"))[::5]:
                with open(path, newline="") as file:
                    elements.append({"datasource": "custom", "metric": path.stem, "data": [
                        [float(row["value"]), row["timestamp"],
                         *([float(row["anomaly_score"]), float(row["raw_score"])] if "raw_score" in row else ())]
                        for row in csv.DictReader(file)]})
        records = self.create(elements[:3]) + [self.create(one, "PUT")[0] for one in elements[3:]]
        for element, record in zip(elements, records):
            self.assertEqual(record["last_rowid"], len(element["data"]))
        return records

    def test_all_into_an_empty_store(self):
        """Export of all, element by element into an empty store: the same models, the same streams byte for byte."""
        records = self.fill(harness.seed())
        status, exported = self.curl("GET", "/_models/export")
        self.assertEqual(status, 200)
        elements = json.loads(exported)
        self.assertEqual([one["uid"] for one in elements], sorted(one["uid"] for one in records))
        paths = ["/_models", "/_models/export"]
        streams = ["/_models/data", "/_models/data?anomaly=-1", "/_models/data?anomaly=-1&from=2011-03-14&limit=7"]
        streams += [f"/_models/{one['uid']}/data?anomaly=-1" for one in elements]
        with harness.up(self.folder / "second") as second:
            for line in exported.split(b"},\n"):  # as the text has them, number by number
                line = line.removeprefix(b"[")
                line = line.removesuffix(b"]") if line.endswith(b"}]") else line + b"}"
                self.assertEqual(self.create(line, program=second)[0]["uid"], json.loads(line)["uid"])
            for path in paths + streams:
                self.assertEqual(self.curl("GET", path, program=second), self.curl("GET", path), path)
            for path in streams:
                self.assertEqual(self.octets(path, second), self.octets(path), path)
        with harness.up(self.folder / "third") as third:  # the whole at once
            self.assertEqual(len(self.create(exported, program=third)), len(elements))
            self.assertEqual(self.curl("GET", "/_models/export", program=third), (200, exported))
            self.assertEqual(self.octets(streams[1], third), self.octets(streams[1]))
        print(f"{len(elements)} metrics, {sum(len(one['data']) for one in elements)} rows, {len(exported)} bytes")

    def test_exports(self):
        self.create([{**CUSTOM, "uid": "b", "status": 0, "data": [[1, "2014-01-01 00:00:00"]]}, {**CLOUD, "uid": "a"}])
        (alone,) = json.loads(self.curl("GET", "/_models/b/export")[1])
        self.assertEqual(alone["data"], [[1, "2014-01-01 00:00:00", None, None]])
        self.assertEqual([one["uid"] for one in json.loads(self.curl("GET", "/_models/export")[1])], ["a"])
        self.assertEqual(self.curl("GET", "/_models/x/export")[0], 404)
        self.assertEqual(self.curl("GET", "/_models/x%27/export")[0], 400)
        with harness.up(self.folder / "second") as second:  # unmonitored it stays
            self.create([alone], program=second)
            self.assertEqual(self.listed(second), [])
            self.assertEqual(json.loads(self.curl("GET", "/_models/b/export", program=second)[1]), [alone])

    def test_long_exports_take_no_memory(self):
        rows = 20000 if harness.SLOW else 300000
        self.create(big_import("long", rows))
        self.curl("GET", "/_models/data?limit=1")
        before = self.program.rss()
        self.program.reset_peak()
        status, body = self.curl("GET", "/_models/export")
        self.assertEqual((status, len(json.loads(body)[0]["data"])), (200, rows))
        grown = self.program.peak() - before
        print(f"export of {len(body)} bytes: {grown >> 20} MiB more at most")
        self.assertLess(grown, (256 if harness.SLOW else 24) * MIB)


class Crashes(harness.Case):
    """kill -9 in the middle of an import: what was written is whole, and the same request completes it."""
    ROWS = 120000 if harness.SLOW else 250000
    METRICS = 6
    ROUNDS = 10  # an import may be over before it is stopped in its middle: then another one is

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.round = 0

    def start(self, *args):
        part = harness.Program(*args)
        self.addCleanup(lambda: part.process.returncode is None and part.stop())
        return part

    def start_all(self):
        self.broker = self.start("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        self.start_writer()
        self.start("worker", "query", "--data", self.data, "--connect", self.broker.ready["workers"])
        self.start_http()

    def start_writer(self):
        self.writer = self.start("worker", "write", "--data", self.data, "--connect", self.broker.ready["workers"])

    def start_http(self):
        self.http = self.start("http", "--http", "127.0.0.1:0", "--connect", self.broker.ready["clients"])

    def body(self):
        return b"[" + b",".join(big_import(f"m{self.round}-{n}", self.ROWS // self.METRICS, 1400000000 + n)
                                for n in range(self.METRICS)) + b"]"

    def count(self):
        """Rows written so far, as the bus sees them."""
        with bus.Bus(self.broker.ready["clients"]) as client:
            return sum(one["last_rowid"] for one in bus.unpack_all(client.stream({"op": "models"}))
                       if one["name"].startswith(f"m{self.round}-"))

    def check(self):
        status, _, answer = harness.http_get(self.http, "/_models/export")
        self.assertEqual(status, 200)
        expected = {one["metric"]: one["data"] for one in json.loads(self.body())}
        got = {one["name"]: [row[:2] for row in one["data"]] for one in json.loads(answer)
               if one["name"].startswith(f"m{self.round}-")}
        self.assertEqual(got, expected)

    def post(self, body, result):
        with contextlib.suppress(OSError, http.client.HTTPException):
            result.append(harness.http_get(self.http, "/_models", method="POST", body=body))

    def begin(self, writer):
        """A post of which some rows are written, and whose write worker is stopped in the middle."""
        for self.round in range(self.ROUNDS):
            result = []
            thread = threading.Thread(target=self.post, args=(self.body(), result))
            thread.start()
            harness.wait_until(lambda: self.count() > 0, timeout=120, what="the first rows")
            writer.signal(signal.SIGSTOP)
            thread.join(0.2)
            if thread.is_alive():
                return thread, result
            writer.signal(signal.SIGCONT)
        self.fail("no import could be stopped in its middle")

    def complete(self, thread, result):
        """What was broken off is posted again."""
        thread.join()
        self.assertEqual(result, [])
        written = self.count()
        self.assertLessEqual(written, self.ROWS)
        print(f"killed at {written} of {self.ROWS} rows")
        self.post(self.body(), result)
        self.assertEqual(result[0][0], 201)
        self.check()

    def test_adapter(self):
        self.start_all()
        thread, result = self.begin(self.writer)
        self.http.kill()
        self.writer.signal(signal.SIGCONT)
        self.start_http()
        self.complete(thread, result)

    def test_write_worker(self):
        self.start_all()
        thread, result = self.begin(self.writer)
        self.writer.kill()
        self.start_writer()
        thread.join()  # the request itself goes on
        self.assertEqual((result[0][0], len(json.loads(result[0][2]))), (201, self.METRICS))
        self.check()

    def test_everything(self):
        self.broker = self.http = harness.up(self.data)
        thread, result = self.begin(self.http)
        self.http.kill()
        self.broker = self.http = harness.up(self.data)
        self.addCleanup(self.http.stop)
        self.complete(thread, result)


@harness.sqlite_only("it is about the adapter, and takes many rows")
class Crowds(Models):
    """Big bodies beside other requests, and many at once."""
    BODY = 2 * MIB if harness.SLOW else 31 * MIB

    def body(self, metric):
        head = big_import(metric, 50 if harness.SLOW else 5000)
        row = b',[0.5,"2015-01-01 00:00:00",null,null]'
        return head[:-2] + row * ((self.BODY - len(head)) // len(row)) + b"]}"

    def test_others_are_not_held_up(self):
        self.create({**CUSTOM, "uid": "u", "data": [[1, "2014-01-01 00:00:00", 0.5, 0.5]]})
        done = []
        thread = threading.Thread(target=lambda: done.append(harness.http_get(
            self.program, "/_models", method="POST", body=self.body("big"))))
        host = self.program.ready["http"].removeprefix("http://")
        times = {True: [], False: []}
        with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            def ask(during):
                began = time.monotonic()
                connection.request("GET", "/_models/u/data?limit=1")
                self.assertEqual(len(json.loads(connection.getresponse().read())["data"]), 1)
                times[during].append((time.monotonic() - began) * 1000)
            for _ in range(300):
                ask(False)
            thread.start()
            while thread.is_alive():
                ask(True)
        thread.join()
        self.assertEqual(done[0][0], 201)
        for during, name in ((False, "alone"), (True, "beside an import")):
            ordered = sorted(times[during])
            print(f"{name}: {len(ordered)} requests, median {ordered[len(ordered) // 2]:.2f} ms, "
                  f"p99 {ordered[len(ordered) * 99 // 100]:.2f} ms, most {ordered[-1]:.2f} ms")
        self.assertLess(sorted(times[True])[len(times[True]) // 2], 1000)  # not a measurement: nobody waits for it all

    def test_memory_is_bounded(self):
        """Bodies have a bound in all; what is over it is told to come again, and can."""
        bodies = [self.body(f"big{n}") for n in range(8)]
        self.create(CUSTOM)
        before = self.program.rss()
        self.program.reset_peak()
        results = []

        def post(body):
            results.append(harness.http_get(self.program, "/_models", method="POST", body=body, timeout=300))
        threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(status for status, _, _ in results)
        grown = self.program.peak() - before
        print(f"8 bodies of {self.BODY >> 20} MiB at once: {statuses}, {grown >> 20} MiB more at most")
        self.assertLessEqual(set(statuses), {201, 503})
        self.assertIn(201, statuses)
        for status, headers, body in results:
            if status == 503:
                self.assertEqual(headers["Retry-After"], "1", body)
        self.assertLess(grown, (2048 if harness.SLOW else 256) * MIB)
        for body in bodies:  # one after another all of them are taken
            self.assertEqual(harness.http_get(self.program, "/_models", method="POST", body=body, timeout=300)[0], 201)


@harness.sqlite_only("there is no store behind a fake bus")
class Scripted(harness.Case):
    """The adapter against a scripted bus: what it asks, and what it makes of answers that fail."""

    def setUp(self):
        super().setUp()
        self.bus = FakeBus()
        self.addCleanup(self.bus.stop)
        self.program = harness.Program("http", "--connect", self.bus.endpoint, "--http", "127.0.0.1:0",
                                       "--timeout", "3s", "--idle-timeout", "3s", "--drain-timeout", "1s")
        self.addCleanup(self.program.stop)
        self.fails = {}

    def answer(self, bus, peer, service, request):
        """200 to everything, but for ops in self.fails."""
        status = self.fails.get(request["op"], 200)
        if status == 200:
            bus.final(peer, service, request, payload=pack({"uid": "x", "status": 1}))
        elif status:
            bus.final(peer, service, request, status=status, error=f"no {request['op']}")

    def post(self, body):
        self.bus.answer = self.answer
        del self.bus.seen[:]
        status, _, answer = harness.http_get(self.program, "/_models", method="POST", body=json.dumps(body))
        return status, json.loads(answer)

    def test_what_is_asked(self):
        data = [[n, time_text(n)] for n in range(50000)]
        status, answer = self.post([{**CUSTOM, "uid": "u", "data": data}, {"datasource": "custom", "metric": "b"}])
        self.assertEqual((status, answer), (201, [{"uid": "x", "status": 1}]))
        services = {request["op"]: service for service, request in self.bus.seen}
        self.assertEqual(services, {"create": "metric.write", "append": "metric.write", "models": "metric.query"})
        self.assertEqual(len({request["trace"] for _, request in self.bus.seen}), 1)
        creates = [request["metric"] for _, request in self.bus.seen if request["op"] == "create"]
        self.assertEqual(creates, [{"uid": "u", "datasource": "custom", "name": "cpu"},
                                   {"datasource": "custom", "name": "b"}])
        appends = [request for _, request in self.bus.seen if request["op"] == "append"]
        rows = [request["rows"].encode(errors="surrogateescape") for request in appends]
        self.assertEqual({request["uid"] for request in appends}, {"u"})
        self.assertLess(max(map(len, rows)), 600000)
        next_rowid = 1
        for request, packed in zip(appends, rows):
            self.assertEqual(request["first_rowid"], next_rowid)
            next_rowid += len(bus.unpack_all(packed))
        self.assertEqual(next_rowid, 50001)
        last = self.bus.seen[-1][1]
        self.assertEqual(last["op"], "models")
        self.assertEqual(bus.unpack_all(last["uids"].encode(errors="surrogateescape"))[0], "u")

    def test_failures_have_their_status(self):
        body = [{"datasource": "custom", "metric": "b"}, {**CUSTOM, "data": [[1, "2014-01-01 00:00:00"]]}]
        for op, given, status, text in (("create", 409, 409, "element 1: no create"),
                                        ("create", 400, 400, "element 1: no create"),
                                        ("append", 409, 409, "element 2: no append"),
                                        ("append", 404, 409, "element 2: no append"),
                                        ("append", 500, 500, "element 2: no append"),
                                        ("models", 410, 410, "no models")):
            self.fails = {op: given}
            self.assertEqual(self.post(body), (status, {"result": text}))
        self.fails = {"create": 409}
        self.assertEqual(self.post(CUSTOM), (409, {"result": "no create"}))
        for op in ("create", "append", "models"):
            self.fails = {op: None}
            self.assertIn(self.post(body)[0], (503, 504))
        for given, status in ((404, 404), (500, 500), (409, 409)):
            self.fails = {"delete": given, "stats": given, "export": given}
            self.bus.answer = self.answer
            for method, path in (("DELETE", "/_models/u"), ("GET", "/_models/u/export")):
                got, _, answer = harness.http_get(self.program, path, method=method)
                text = "ObjectNotFoundError Metric not found: Metric ID: u" if status == 404 else "no "
                self.assertEqual(got, status)
                self.assertIn(text, json.loads(answer)["result"])
        self.bus.answer = lambda bus, peer, service, request: bus.final(peer, service, request, payload=b"\xc1")
        self.assertEqual(harness.http_get(self.program, "/_models/data/stats")[0], 500)

    def test_broken_exports_are_resets(self):
        for how in ("error", "garbage", "silence"):
            def answer(bus, peer, service, request):
                if "cursor" not in request:
                    bus.final(peer, service, request, next="c",
                              payload=pack({"uid": "a"}) + b"".join(pack([n, 0.5, None, None]) for n in range(5000)))
                elif how == "error":
                    bus.final(peer, service, request, status=410, error="too old")
                elif how == "garbage":
                    bus.final(peer, service, request, payload=pack([1, 2, 3]))
            self.bus.answer = answer
            for version in ("--http1.1", "--http1.0"):
                done = subprocess.run(["curl", "-s", version, "-o", "/dev/null",
                                       self.program.ready["http"] + "/_models/export"], timeout=60)
                self.assertIn(done.returncode, (18, 56), (how, version))

    def test_clients_that_leave(self):
        """An import whose client is gone ends like any other; the adapter goes on."""
        self.bus.answer = None
        body = big_import("a", 20000)
        for _ in range(3):
            host, port = self.program.ready["http"].removeprefix("http://").rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=30) as peer:
                peer.sendall(b"POST /_models HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                harness.wait_until(lambda: self.bus.seen, what="the create")
        with socket.create_connection((host, int(port)), timeout=30) as peer:  # in the middle of its body
            peer.sendall(b"POST /_models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n" + body)
        self.assertEqual(self.post(CUSTOM)[0], 201)


if __name__ == "__main__":
    harness.main()
