"""Every row of the contract around data, and what HTTP's users expect besides, through curl against the program."""
import csv
import io
import json
import math
import zlib

import bus
import harness
from curl import curl

CSV = """timestamp,value,anomaly_score
2013-08-15 21:34:00,222,0.025
2013-08-15 21:35:00,1e16,0.5
2013-08-15 21:36:00,-0.0,1
2013-08-15 21:37:00,0.1,0
2013-08-15 21:38:00,5e-324,
2013-08-15 21:39:00,-1.7976931348623157e308,0.9
"""
OCTETS = {"Accept": "application/octet-stream"}
JSON_TYPE = "application/json; charset=UTF-8"


class Curl(harness.Case):
    args, env = (), None

    def setUp(self):
        super().setUp()
        self.start()

    def start(self):
        for name, rows in (("cpu", CSV), ("disk", CSV.replace("2013", "2014")), ("empty", "timestamp,value\n")):
            (self.folder / f"{name}.csv").write_text(rows)
        self.program = harness.up(self.folder / "data", *self.args, env=self.env)
        self.addCleanup(self.program.stop)
        done = harness.run("import", "--connect", self.program.ready["clients"],
                           *(self.folder / f"{name}.csv" for name in ("cpu", "disk", "empty")))
        self.uids = {line.split("\t")[1]: line.split("\t")[0] for line in done.out.splitlines()}

    def curl(self, path, *options, **more):
        return curl(self.program, path.replace("{cpu}", self.uids["cpu"]), *options, **more)

    def rows(self, path, **more):
        answer = self.curl(path, **more)
        self.assertEqual((answer.exit, answer.status, answer["Content-Type"]), (0, 200, JSON_TYPE), answer)
        return json.loads(answer.body)["data"]

    def stream(self, **query):
        with bus.Bus(self.program.ready["clients"]) as client:
            return client.stream({"op": "data", "order": "time", **query})

    def refused(self, status, path, *options, says=None, **more):
        answer = self.curl(path, *options, **more)
        self.assertEqual((answer.exit, answer.status, answer["Content-Type"]), (0, status, JSON_TYPE), (path, answer))
        self.assertEqual(list(json.loads(answer.body)), ["result"])
        if says:
            self.assertIn(says, json.loads(answer.body)["result"])
        return answer


class Contract(Curl):
    def test_json_of_one_metric(self):
        answer = self.curl("/_models/{cpu}/data?from=2013-08-15&anomaly=-1")
        self.assertEqual(answer.body, b'{"data": [["2013-08-15 21:34:00", 222, 0.025, 1], '
                         b'["2013-08-15 21:35:00", 1e+16, 0.5, 2], ["2013-08-15 21:36:00", -0.0, 1, 3], '
                         b'["2013-08-15 21:37:00", 0.1, 0, 4], ["2013-08-15 21:38:00", 5e-324, null, 5], '
                         b'["2013-08-15 21:39:00", -1.7976931348623157e+308, 0.9, 6]], '
                         b'"names": ["timestamp","value","anomaly_score","rowid"]}')
        self.assertEqual(answer["Content-Type"], JSON_TYPE)
        self.assertTrue(answer["Server"].startswith("metricmq "))
        self.assertEqual(int(answer["Content-Length"]), len(answer.body))

    def test_json_of_all_metrics(self):
        answer = self.curl("/_models/data?anomaly=-1&limit=2")
        body = json.loads(answer.body)
        self.assertEqual(body["names"], ["timestamp", "value", "anomaly_score", "rowid"])
        self.assertEqual([one["uid"] for one in body["metrics"]], sorted(self.uids[name] for name in ("cpu", "disk")))
        self.assertEqual([[row[3] for row in one["data"]] for one in body["metrics"]], [[6, 5], [6, 5]])

    def test_the_stream_is_the_bus_s(self):
        for path, query in (("/_models/{cpu}/data", {"uid": self.uids["cpu"]}), ("/_models/data", {}),
                            ("/_models/data?from=2013-08-15+21%3A36%3A00&limit=3&anomaly=-1",
                             {"from": "2013-08-15 21:36:00", "limit": 3, "anomaly": -1.0}),
                            ("/_models/nobody/data", {"uid": "nobody"})):
            for accept in ("application/octet-stream", "text/html, application/octet-stream;q=0.3, */*;q=0.1"):
                answer = self.curl(path, headers={"Accept": accept})
                self.assertEqual((answer.status, answer["Content-Type"], answer["X-Accel-Buffering"]),
                                 (200, "application/octet-stream", "no"))
                self.assertEqual(answer.body, self.stream(**query), path)

    def test_csv_and_ndjson(self):
        for path in ("/_models/{cpu}/data?anomaly=-1", "/_models/data?anomaly=-1&from=2013-01-01", "/_models/no/data"):
            rows = [(uid, time, value, score, rowid) for uid, time, value, score, rowid in
                    bus.rows_of(self.curl(path, headers=OCTETS).body)]
            answer = self.curl(path, headers={"Accept": "text/csv"})
            self.assertEqual(answer["Content-Type"], "text/csv; charset=UTF-8")
            head, *lines = csv.reader(io.StringIO(answer.body.decode(), newline=""))
            self.assertEqual(head, ["uid", "timestamp", "value", "anomaly_score", "rowid"])
            self.assertEqual(len(lines), len(rows))
            for line, row in zip(lines, rows):
                self.assertEqual((line[0], float(line[2]), line[3], int(line[4])),
                                 (row[0], row[2], "" if row[3] is None else line[3], row[4]))
                self.assertEqual(math.copysign(1, float(line[2])), math.copysign(1, row[2]))
            answer = self.curl(path, headers={"Accept": "application/x-ndjson"})
            self.assertEqual(answer["Content-Type"], "application/x-ndjson")
            found = [json.loads(line) for line in answer.body.splitlines()]
            self.assertEqual([(one["uid"], one["value"], one["anomaly_score"], one["rowid"]) for one in found],
                             [(uid, value, score, rowid) for uid, _, value, score, rowid in rows])
            self.assertEqual([one["timestamp"] for one in found], [line[1] for line in lines])

    def test_what_is_accepted(self):
        for accept, kind in (("*/*", "application/json"), ("application/json, application/octet-stream;q=0.9",
                             "application/json"), ("image/png", "application/json"), ("text/*", "text/csv"),
                             ("application/octet-stream;q=0, */*", "application/json"),
                             ("text/csv;q=0.1, application/x-ndjson;q=0.2", "application/x-ndjson")):
            for path in ("/_models/{cpu}/data", "/_models/data"):
                answer = self.curl(path, headers={"Accept": accept})
                self.assertEqual((answer.status, answer["Content-Type"].split(";")[0]), (200, kind), accept)
                self.assertEqual(answer["Vary"], "Accept, Accept-Encoding")

    def test_arguments(self):
        numbers = {"": [6, 4, 3, 2, 1], "?anomaly=-1": [6, 5, 4, 3, 2, 1], "?anomaly=0.5": [6, 3, 2],
                   "?limit=2": [6, 4], "?limit=0": [6, 4, 3, 2, 1], "?from=2013-08-15": [1, 2, 3, 4, 6],
                   "?from=2013-08-15+21:36:00": [3, 4, 6], "?from=2013-08-15%2021%3A36%3A00": [3, 4, 6],
                   "?from=2013-08-15T21:36:00": [3, 4, 6], "?from=2013-08-15T21:36:00Z": [3, 4, 6],
                   "?from=1376602560": [3, 4, 6], "?to=2013-08-15+21:35:00": [2, 1], "?to=2013-08-15": [],
                   "?from=&to=&limit=&anomaly=": [6, 4, 3, 2, 1], "?limit=x&limit=1": [6], "?other=%ZZ": [6, 4, 3, 2, 1],
                   "?from=9&to=5": []}
        for query, wanted in numbers.items():
            for slash in ("", "/"):
                self.assertEqual([row[3] for row in self.rows("/_models/{cpu}/data" + slash + query)], wanted, query)
        self.assertEqual(self.rows("/_models/unknown/data"), [])
        for query, says in (("from=x", "from"), ("to=2013-02-30", "to"), ("anomaly=nan", "anomaly"), ("limit=-1", "limit"),
                            ("limit=9223372036854775808", "limit"), ("from=%ZZ", "from")):
            self.refused(400, f"/_models/data?{query}", says=says)

    def test_records(self):
        models = json.loads(self.curl("/_models").body)
        self.assertEqual([one["uid"] for one in models], sorted(self.uids.values()))
        one = json.loads(self.curl("/_models/{cpu}").body)
        self.assertEqual(one, [record for record in models if record["uid"] == self.uids["cpu"]])
        self.assertEqual(set(one[0]), {"uid", "datasource", "name", "description", "server", "location", "parameters",
                                       "status", "message", "last_timestamp", "poll_interval", "tag_name", "last_rowid",
                                       "display_name"})
        self.refused(404, "/_models/nothing", says="ObjectNotFoundError Metric not found: Metric ID: nothing")

    def test_feedback(self):
        answer = self.curl("/_logging/feedback", data=json.dumps({"uid": self.uids["cpu"], "x": 1}).encode())
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(answer["Content-Type"].startswith("text/plain"))
        self.assertIn(b"metric_dumps/", answer.body)
        self.refused(404, "/_logging/feedback", data=b'{"uid": "nothing"}')
        self.refused(400, "/_logging/feedback", data=b'{"uid": 5}')
        self.refused(413, "/_logging/feedback", data=b" " * (1024 * 1024 + 1))

    def test_health_and_page(self):
        for path, cache in (("/health/live", "no-store"), ("/health/ready", "no-store"), ("/", "no-cache")):
            answer = self.curl(path)
            self.assertEqual((answer.status, answer["Cache-Control"]), (200, cache))


class Head(Curl):
    def test_head_is_get_without_a_body(self):
        for path in ("/_models", "/_models/{cpu}", "/_models/{cpu}/data", "/_models/data?limit=1", "/health/live",
                     "/health/ready", "/", "/_models/nothing", "/nothing", "/_models/data?limit=x"):
            for headers in ({}, OCTETS, {"Accept": "text/csv"}):
                get, head = self.curl(path, headers=headers), self.curl(path, headers=headers, method="HEAD")
                self.assertEqual((head.exit, head.status, head.body), (0, get.status, b""), path)
                for name in ("Content-Type", "ETag", "Vary", "Cache-Control", "Allow", "Content-Encoding"):
                    self.assertEqual(head[name], get[name], (path, name))
                self.assertEqual(head["Content-Length"], get["Content-Length"], path)

    def test_head_of_a_long_answer(self):
        harness.run("demo", "--connect", self.program.ready["clients"], "--metrics", "2", "--rows", "20000")
        get, head = self.curl("/_models/data"), self.curl("/_models/data", method="HEAD")
        self.assertEqual((head.status, head["ETag"], head["Transfer-Encoding"]), (200, get["ETag"], "chunked"))

    def test_methods(self):
        """F42"""
        for method in ("PUT", "TRACE", "DELETE", "POST", "BREW"):
            self.assertEqual(self.refused(405, "/_models/data", method=method)["Allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(self.refused(405, "/_logging/feedback")["Allow"], "POST, OPTIONS")
        self.assertEqual(self.curl("/_logging/feedback", method="HEAD").status, 405)
        for path, allow in (("/_models/data", "GET, HEAD, OPTIONS"), ("/_logging/feedback", "POST, OPTIONS")):
            answer = self.curl(path, method="OPTIONS")
            self.assertEqual((answer.status, answer["Allow"], answer.body), (204, allow, b""))
        answer = self.curl("/", "--request-target", "*", method="OPTIONS")
        self.assertEqual((answer.status, answer["Allow"]), (204, "GET, HEAD, POST, PUT, DELETE, OPTIONS"))
        self.refused(404, "/nothing", method="OPTIONS")


class Validators(Curl):
    PATHS = ("/_models", "/_models/{cpu}", "/_models/{cpu}/data", "/_models/data", "/_models/{cpu}/data?limit=1")

    def test_no_news_is_304(self):
        for path in self.PATHS:
            for method in ("GET", "HEAD"):
                tag = self.curl(path)["ETag"]
                self.assertRegex(tag, r'^W/"[-0-9a-f]+-[a-z]"$')
                for field in (tag, tag.removeprefix("W/"), f'"x", {tag}, "y"', "*", f'W/"other-j", {tag}'):
                    answer = self.curl(path, headers={"If-None-Match": field}, method=method)
                    self.assertEqual((answer.exit, answer.status, answer.body, answer["ETag"]), (0, 304, b"", tag), field)
                    self.assertEqual((answer["Vary"], answer["Cache-Control"], answer["Content-Type"]),
                                     ("Accept, Accept-Encoding", "no-cache", None))
                for field in ('"x"', "x", '"', "W/", f"{tag}x".replace('"', ""), ""):
                    answer = self.curl(path, headers={"If-None-Match": field}, method=method)
                    self.assertEqual(answer.status, 200, field)
        many = [f"If-None-Match: {self.curl('/_models')['ETag']}"] * 5
        answer = self.curl("/_models", *(part for field in many for part in ("-H", field)))
        self.assertEqual(answer.status, 200, "more fields than are looked at: no condition")

    def test_forms_differ(self):
        tags = {self.curl("/_models/{cpu}/data", headers={"Accept": accept})["ETag"]
                for accept in ("*/*", "text/csv", "application/x-ndjson", "application/octet-stream")}
        self.assertEqual(len(tags), 4)
        for tag in tags:
            statuses = [self.curl("/_models/{cpu}/data", headers={"Accept": accept, "If-None-Match": tag}).status
                        for accept in ("*/*", "text/csv", "application/x-ndjson", "application/octet-stream")]
            self.assertEqual(sorted(statuses), [200, 200, 200, 304])

    def test_news(self):
        tags = {path: self.curl(path)["ETag"] for path in self.PATHS}
        (self.folder / "new.csv").write_text(CSV)
        harness.run("import", "--connect", self.program.ready["clients"], self.folder / "new.csv")
        for path, tag in tags.items():
            status = self.curl(path, headers={"If-None-Match": tag}).status
            self.assertEqual(status, 304 if "{cpu}" in path else 200, path)

    def test_errors_have_none(self):
        for path in ("/_models/nothing", "/_models/data?limit=x", "/nothing"):
            answer = self.curl(path, headers={"If-None-Match": "*"})
            self.assertGreaterEqual(answer.status, 400)
            self.assertEqual((answer["ETag"], answer["Cache-Control"]), (None, "no-store"))


class Compression(Curl):
    def start(self):
        super().start()
        harness.run("demo", "--connect", self.program.ready["clients"], "--metrics", "3", "--rows", "20000")

    def test_text_is_compressed(self):
        for path, small in (("/_models/data", False), ("/_models/data?limit=100", False), ("/_models", False),
                            ("/_models/{cpu}/data", True), ("/health/live", True)):
            for accept in ("application/json", "text/csv", "application/x-ndjson"):
                headers = {"Accept": accept}
                plain = self.curl(path, headers=headers)
                self.assertIsNone(plain["Content-Encoding"])
                packed = self.curl(path, headers={**headers, "Accept-Encoding": "br, gzip;q=0.5"})
                self.assertEqual(packed["Content-Encoding"], None if small else "gzip", path)
                self.assertEqual((packed["ETag"], packed["Vary"]), (plain["ETag"], plain["Vary"]))
                if small:
                    continue
                self.assertLess(len(packed.body), len(plain.body) / 2)
                reader = zlib.decompressobj(31)  # gzip, with its checksum
                self.assertEqual(reader.decompress(packed.body), plain.body)
                self.assertTrue(reader.eof)
                self.assertEqual(reader.unused_data, b"")
                head = self.curl(path, headers={**headers, "Accept-Encoding": "gzip"}, method="HEAD")
                if "Transfer-Encoding" in packed.headers:
                    self.assertEqual(head["Content-Encoding"], "gzip")

    def test_not_where_it_is_unwanted(self):
        for coding in ("identity", "gzip;q=0", "identity, gzip;q=0.5", "br", "*;q=0"):
            self.assertIsNone(self.curl("/_models/data", headers={"Accept-Encoding": coding})["Content-Encoding"])
        answer = self.curl("/_models/data", headers={**OCTETS, "Accept-Encoding": "gzip"})
        self.assertIsNone(answer["Content-Encoding"])
        self.assertEqual(answer.body, self.stream())

    def test_memory_is_flat(self):
        for path in ("/_models/data?anomaly=-1", "/_models/data"):
            self.curl(path, "--compressed")
        before = self.program.rss()
        for _ in range(10):
            self.curl("/_models/data", "--compressed")
        self.assertLess(self.program.rss() - before, (96 if harness.SLOW else 8) << 20)


class Traces(Curl):
    def test_request_ids(self):
        for given, taken in (("abc-1", True), ("a" * 64, True), ("A.b_c:d+e/f=", True), ("a" * 65, False), ("a b", False),
                             ("a\tb", False), ("é", False), ('a"b', False), ("a;b", False)):
            answer = self.curl("/_models/nothing", headers={"X-Request-Id": given})
            shown = answer["X-Request-Id"]
            self.assertEqual(shown == given, taken, given)
            self.assertRegex(shown, r"^[-A-Za-z0-9_.:+/=]{1,64}$")
            line = harness.wait_until(lambda: [line for line in self.program.errors().splitlines()
                                               if "msg=request " in line and shown in line], what="the line")[0]
            self.assertIn("role=http", line)
            harness.wait_until(lambda: [line for line in self.program.errors().splitlines()
                                        if 'msg="request answered"' in line and shown in line], what="the worker's line")
        self.assertNotEqual(self.curl("/")["X-Request-Id"], self.curl("/")["X-Request-Id"])

    def test_the_access_log(self):
        answer = self.curl("/_models/data?from=2013-08-15", headers={"User-Agent": "me/1 \x1b[31m " + "x" * 200})
        line = harness.wait_until(lambda: [line for line in self.program.errors().splitlines()
                                           if f"trace={answer['X-Request-Id']} end=" in line], what="the line")[0]
        for part in ("level=info role=http msg=request method=GET path=/_models/data status=200",
                     f"bytes={len(answer.body)}", "ms=", "address=127.0.0.1", 'agent="me/1 \\u001b[31m xxx', "end=whole"):
            self.assertIn(part, line)
        self.assertNotIn("x" * 100, line)
        self.assertNotIn("from=", line)


class Origins(Curl):
    args = ("--cors-origin", "https://a.example", "--cors-origin", "http://b.example:8080")
    env = {"METRICMQ_API_KEY": "k"}
    KEY = ("-u", "k:")

    def test_origins(self):
        for origin, allowed in (("https://a.example", True), ("http://b.example:8080", True), ("https://c.example", False),
                                ("http://a.example", False), ("null", False), ("*", False)):
            for path in ("/_models/data", "/_models/nothing", "/nothing"):
                answer = self.curl(path, *self.KEY, headers={"Origin": origin})
                self.assertEqual(answer.status == 403, not allowed, (origin, path))
                self.assertEqual(answer["Access-Control-Allow-Origin"], origin if allowed else None)
                self.assertEqual(answer["Access-Control-Allow-Credentials"], "true" if allowed else None)
                self.assertIn("Origin", answer["Vary"])
            ask = {"Origin": origin, "Access-Control-Request-Method": "GET",
                   "Access-Control-Request-Headers": "authorization"}
            answer = self.curl("/_models/data", method="OPTIONS", headers=ask)
            self.assertEqual(answer.status, 204 if allowed else 403)
            if allowed:
                self.assertEqual((answer["Access-Control-Allow-Methods"], answer["Access-Control-Max-Age"]),
                                 ("GET, HEAD, OPTIONS", "600"))
                self.assertIn("Authorization", answer["Access-Control-Allow-Headers"])
        self.assertEqual(self.curl("/_models", method="OPTIONS", headers={"Origin": "https://a.example"}).status, 401)
        self.assertIn("Origin", self.curl("/_models", *self.KEY)["Vary"])

    def test_any(self):
        self.program.stop()
        self.program = harness.up(self.folder / "data", "--cors-origin", "*", env=self.env)
        self.addCleanup(self.program.stop)
        answer = self.curl("/_models", *self.KEY, headers={"Origin": "https://c.example"})
        self.assertEqual((answer["Access-Control-Allow-Origin"], answer["Access-Control-Allow-Credentials"]), ("*", None))

    def test_bad_origins(self):
        for origin in ("a.example", "https://", "https://a.example/", "ftp://a.example", "https://a b", "https://*", "null"):
            done = harness.run("http", "--http", "127.0.0.1:0", "--cors-origin", origin, check=False)
            self.assertEqual(done.returncode, 2, origin)
            self.assertIn("--cors-origin", done.err)


class Key(Curl):
    env = {"METRICMQ_API_KEY": "sesame:1"}

    def test_key(self):
        for path in ("/_models", "/_models/{cpu}/data", "/_models/data", "/nothing"):
            self.assertTrue(self.refused(401, path)["WWW-Authenticate"].startswith("Basic "))
            self.refused(401, path, "-u", "wrong:")
            self.refused(401, path, method="OPTIONS")
        self.assertEqual(self.curl("/_models", "-u", "sesame:1:").status, 200)
        self.assertEqual(self.curl("/health/live").status, 200)


if __name__ == "__main__":
    harness.main()
