"""/openapi.json is true: each path, method, status and form in it is brought about on the real program, and what the
program answered meanwhile is in it.

To add a path: describe it in clients/http/openapi.json; what brings about its statuses is in ASKS, as far as GENERAL
does not say it for all paths.
"""
import base64
import contextlib
import copy
import http.client
import json
import signal
import socket
import warnings

import harness
from bus import unpack_all
from exposition import Metrics
from fake_bus import FakeBus, pack

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import openapi_rules as rules

JSON = "application/json"
MIB = 1 << 20


class Ask:
    """A request, and which program it is for: a name of Programs."""

    def __init__(self, query="", uid="known", body=None, headers=None, host=True, on="whole", file="main.js"):
        self.query, self.uid, self.body, self.headers, self.host, self.on = query, uid, body, headers or {}, host, on
        self.file = file

    def send(self, connection, path, method):
        """(status, headers, body) of the answer."""
        target = path.replace("{uid}", self.uid).replace("{file}", self.file) + self.query
        connection.putrequest(method.upper(), target, skip_host=not self.host, skip_accept_encoding=True)
        body = json.dumps(self.body).encode() if isinstance(self.body, (dict, list)) else self.body
        for name, value in self.headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        if answer.headers.get("Content-Type") == "text/event-stream" and method != "head":
            return answer.status, answer.headers, answer.readline() + answer.readline()  # it has no end
        return answer.status, answer.headers, answer.read()


# How a status comes about where ASKS does not say more.
GENERAL = {
    "200": [Ask()],
    "304": [Ask(headers={"If-None-Match": "*"}), Ask(headers={"If-None-Match": '"x", *'})],
    "400": [Ask(host=False)],
    "401": [Ask(on="keyed"), Ask(on="keyed", headers={"Authorization": "Basic d3Jvbmc6"})],
    "403": [Ask(headers={"Origin": "https://evil.example"}), Ask(headers={"Host": "evil.example"}, host=False),
            Ask(on="righted")],
    "413": [Ask(body=b" " * (MIB + 1))],
    "500": [Ask(on="failing")],
    "503": [Ask(on="stopping")],
    "504": [Ask(on="silent")],
}

ROW = ["uid", "timestamp", "value", "anomaly_score", "rowid"]
BUCKET = ["uid", "timestamp", "rows", "least", "greatest", "first", "last", "mean", "anomaly_score", "unscored"]

# Lines of feedback that is told how far it is.
PROGRESS = [["stage", "done", "total"], ["status", "key"], ["status", "result"]]

FOREIGN = GENERAL["403"][:2]  # where any key will do, or none

CUSTOM = {"datasource": "custom", "metric": "new"}
CREATE = {
    "201": [Ask(body=CUSTOM), Ask(body=[CUSTOM, {"datasource": "cloudwatch", "metricSpec": {
        "region": "r", "namespace": "n", "metric": "m", "dimensions": {"d": "v"}},
        "data": [[1, "2014-01-01 00:00:00"], [2, "2014-01-01 00:00:00", 0.5, None]]}])],
    "400": [Ask(), Ask(body=b"{"), Ask(body=[]), Ask(body=[CUSTOM, CUSTOM]), Ask(body={"datasource": "custom"}),
            Ask(host=False, body=CUSTOM)],
    "409": [Ask(body={"datasource": "custom", "metric": "m"}), Ask(body={**CUSTOM, "uid": "known"})],
    "413": [Ask(body=b" " * (32 * MIB + 1))],
    "500": [Ask(body=CUSTOM, on="failing")],
    "503": [Ask(body=CUSTOM, on="lonely"), Ask(body=CUSTOM, on="stopping")],
    "504": [Ask(body=CUSTOM, on="silent")],
}

# {path: {status: asks}}; for all methods of the path, or, under "METHOD PATH", for one.
ASKS = {
    "/_models/{uid}/data": {
        "200": [Ask(), Ask("?limit=2"), Ask(uid="unknown"), Ask("?anomaly=-1&from=2013-08-15")],
        "400": [Ask("?limit=x"), Ask(uid=".."), Ask(uid="a%20b"), Ask(host=False)],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/data": {
        "200": [Ask(), Ask("?limit=2")],
        "400": [Ask("?from=yesterday"), Ask(host=False)],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/{uid}/summary": {
        "200": [Ask(), Ask("?buckets=2"), Ask(uid="unknown"), Ask("?buckets=10000&from=2013-08-15")],
        "400": [Ask("?buckets=x"), Ask("?buckets=10001"), Ask("?to=x"), Ask(uid=".."), Ask(host=False)],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/summary": {
        "200": [Ask(), Ask("?buckets=2"), Ask("?from=2013-08-15&to=2013-08-16")],
        "400": [Ask("?buckets=401"), Ask("?from=yesterday"), Ask(host=False)],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models": {
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "POST /_models": CREATE,
    "PUT /_models": CREATE,
    "DELETE /_models/{uid}": {
        "200": [Ask(uid="spare")],
    },
    "/_models/{uid}/export": {
        "400": [Ask(uid="a%2fb"), Ask(host=False)],
        "404": [Ask(uid="unknown")],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/export": {
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/data/stats": {
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_models/{uid}": {
        "400": [Ask(uid="data%2f"), Ask(host=False)],
        "404": [Ask(uid="unknown")],
        "503": [Ask(on="lonely"), Ask(on="stopping")],
    },
    "/_logging/feedback": {
        "200": [Ask(body={"uid": "known", "comment": "why?"})],
        "202": [Ask(body={"uid": "known"}, on="accepting")],
        "400": [Ask(body=b"{"), Ask(body={"x": 1}), Ask(body=b""), Ask(host=False, body=b"")],
        "404": [Ask(body={"uid": "unknown"})],
        "500": [Ask(body={"uid": "known"}, on="failing")],
        "503": [Ask(body={"uid": "known"}, on="lonely"), Ask(body={"uid": "known"}, on="stopping")],
        "504": [Ask(body={"uid": "known"}, on="silent")],
    },
    "/metrics": {
        "403": [*FOREIGN, Ask(on="reading")],
    },
    "/openapi.json": {
        "403": FOREIGN,
    },
    "/": {
        "403": FOREIGN,
    },
    "/page/{file}": {
        "200": [Ask(file=name) for name in ("main.js", "index.html", "style.css", "icon.svg")],
        "403": FOREIGN,
        "404": [Ask(file="nothing.js"), Ask(file="..")],
    },
    "/_status": {
        "200": [Ask(), Ask(on="silent")],
        "403": [*FOREIGN, Ask(on="reading")],
    },
    "/health/live": {
        "403": FOREIGN,
    },
    "/health/ready": {
        "403": FOREIGN,
        "503": [Ask(on="lonely"), Ask(on="silent"), Ask(on="stopping")],
    },
}

# {parameter: (values that are taken, values that are 400)}
PARAMETERS = {
    "uid": (["known", "unknown"], ["a/b", "data"]),
    "from": (["2013-08-15", "2013-08-15+21:00:00", "2013-08-15T21:00:00Z", "1376602440", ""], ["x", "2013-13-01"]),
    "to": (["2013-08-15", "2013-08-15+21:00:00", "0", ""], ["x", "1e3"]),
    "anomaly": (["0.5", "-1", "0", "1e-3", ""], ["x", "nan"]),
    "limit": (["1", "0", ""], ["-1", "x", "1.5"]),
    "buckets": (["1", "400", ""], ["0", "-1", "x", "1.5", "10001"]),
}


class Programs:
    """Programs in the states that asks want; each is made when it is first wanted, by the method of its name."""

    def __init__(self, folder):
        self.folder, self.made, self.stack = folder, {}, contextlib.ExitStack()

    def get(self, name):
        if name not in self.made:
            self.made[name] = getattr(self, name)()
        return self.made[name]

    def start(self, *args, **options):
        return self.stack.enter_context(harness.Program(*args, **options))

    def adapter(self, endpoint, *args, **options):
        return self.start("http", "--http", "127.0.0.1:0", "--connect", endpoint, *args, **options)

    def whole(self):
        """All of metricmq, with one metric."""
        csv = self.folder / "m.csv"
        csv.write_text("timestamp,value,anomaly_score\n2013-08-15 21:34:00,222,0.025\n2013-08-15 21:35:00,1e-7,\n"
                       "2013-08-15 21:36:00,-0.0,0.5\n")
        program = self.stack.enter_context(harness.up(self.folder / "data"))
        for uid, name in (("known", "m"), ("spare", "spare")):
            harness.run("import", "--connect", program.ready["clients"], "--uid", uid, "--name", name, csv)
        return program

    def bus(self, status, payload=None):
        """A bus on which every request is answered with this status."""
        bus = FakeBus()
        self.stack.callback(bus.stop)
        if status:
            def answer(bus, peer, service, request):
                if not service.startswith(b"mmi."):  # nobody says who serves what
                    bus.final(peer, service, request, status=status, payload=payload, error="x")
            bus.answer = answer
        return bus

    def keyed(self):
        """One that wants a key."""
        return self.adapter(self.bus(None).endpoint, env={"METRICMQ_API_KEY": "sesame"})

    def righted(self):
        """One that is asked with a key that has the right `admin` alone."""
        return self.with_rights("admin")

    def reading(self):
        return self.with_rights("read")

    def with_rights(self, rights):
        file = self.folder / f"keys-{rights}"
        key = harness.run("key", "one", "--rights", rights, "--api-keys", file).out.strip()
        program = self.adapter(self.bus(None).endpoint, "--api-keys", file)
        program.headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
        return program

    def failing(self):
        return self.adapter(self.bus(500).endpoint)

    def accepting(self):
        return self.adapter(self.bus(202, pack({"key": "metric_dumps/k.tar.gz"})).endpoint)

    def silent(self):
        return self.adapter(self.bus(None).endpoint, "--timeout", "300ms")

    def lonely(self):
        """A broker without workers."""
        broker = self.start("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        return self.adapter(broker.ready["clients"], "--timeout", "300ms")

    def send(self, ask, path, method):
        if ask.on == "stopping":
            return self.get("stopping")(ask, path, method)
        program = self.get(ask.on)
        asked = copy.copy(ask)
        asked.headers = {**ask.headers, **getattr(program, "headers", {})}
        with contextlib.closing(connect(program)) as connection:
            return asked.send(connection, path, method)

    def stopping(self):
        """A function that asks an adapter that is being stopped, on connections made before."""
        connections, held = 200, []
        bus = self.bus(None)
        bus.answer = lambda bus, *request: request[1] == b"metric.query" and held.append(request)
        program = self.adapter(bus.endpoint, "--timeout", "300s", "--drain-timeout", "300s")
        spare = [self.stack.enter_context(contextlib.closing(connect(program))) for _ in range(connections)]
        for connection in spare:
            Ask().send(connection, "/health/live", "get")
        spare.pop().request("GET", "/_models")  # the adapter waits until it is answered
        harness.wait_until(lambda: held, what="the request that is held")
        program.signal(signal.SIGTERM)
        harness.wait_until(lambda: not listens(program), what="the end of listening")
        # The first that the stack does:
        self.stack.callback(lambda: bus.tasks.append(lambda: bus.final(*held[0], status=500, error="x")))
        return lambda ask, path, method: ask.send(spare.pop(), path, method)

    def metrics(self):
        """[(program's name, Metrics)] of those that can still be asked."""
        return [(name, Metrics(harness.http_get(program, "/metrics", getattr(program, "headers", {}))[2]))
                for name, program in self.made.items() if name not in ("stopping", "keyed", "reading")]


def connect(program):
    return http.client.HTTPConnection(program.ready["http"].removeprefix("http://"), timeout=60)


def listens(program):
    host, port = program.ready["http"].removeprefix("http://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except ConnectionError:  # refused, or reset if the listener is closed with us in its queue
        return False
    return True


class OpenApi(harness.Case):
    def setUp(self):
        super().setUp()
        self.programs = Programs(self.folder)
        self.addCleanup(self.programs.stack.close)
        status, headers, body = harness.http_get(self.programs.get("whole"), "/openapi.json")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=UTF-8"))
        self.document = json.loads(body)

    def asks(self, path, method, status):
        for table in (ASKS.get(f"{method.upper()} {path}"), ASKS.get(path), GENERAL):
            if table and status in table:
                return table[status]
        self.fail(f"{method} {path}: nothing here brings about {status}")

    def check_content(self, path, method, content, headers, body):
        """The answer has a form that is documented, and is of that form."""
        columns = BUCKET if path.endswith("/summary") else ROW
        type = headers["Content-Type"].split(";")[0]
        self.assertIn(type, content)
        schema = content[type].get("schema")
        if method == "head":
            self.assertEqual(body, b"")
        elif type == JSON:
            rules.validator(self.document, schema).validate(json.loads(body))
        elif type.startswith("text/") or type == "image/svg+xml":
            rules.validator(self.document, schema).validate(body.decode())
            self.assertTrue(body)
        elif type == "application/octet-stream":
            names, *rows = unpack_all(body)
            self.assertEqual(names, ["names", *columns])
            self.assertLessEqual({len(row) for row in rows}, {len(columns)})
        elif type == "application/x-ndjson":
            for line in body.splitlines():
                self.assertIn(list(json.loads(line)), [columns, *PROGRESS])
        else:
            self.fail(f"nothing here reads {type}")
        return type

    def check_answer(self, path, method, response, answer):
        status, headers, body = answer
        for name, header in response.get("headers", {}).items():
            header = rules.resolve(self.document, header)
            self.assertTrue(name in headers or not header.get("required"), f"no {name}")
            if name in headers:
                rules.validator(self.document, header["schema"]).validate(headers[name])
        if response.get("content"):
            return self.check_content(path, method, response["content"], headers, body)
        self.assertEqual(body, b"")
        return None

    def test_every_answer_comes_about(self):
        walked = 0
        for path, method, operation, _ in rules.operations(self.document):
            for status, response in operation["responses"].items():
                response = rules.resolve(self.document, response)
                forms = set(response.get("content", {})) if status == "200" else {None}
                seen = set()
                for ask in self.asks(path, method, status):
                    for form in forms or {None}:
                        with self.subTest(method=method, path=path, status=status, form=form, query=ask.query, on=ask.on):
                            asked = copy.copy(ask)
                            asked.headers = {**ask.headers, **({"Accept": form} if form else {})}
                            answer = self.programs.send(asked, path, method)
                            self.assertEqual(answer[0], int(status), answer[2])
                            seen.add(self.check_answer(path, method, response, answer))
                            walked += 1
                if forms != {None}:
                    self.assertEqual(seen, forms, f"{method} {path}: a form does not come about")
        print(f"{walked} answers", flush=True)
        self.check_metrics()

    def check_metrics(self):
        """What the program counted, by route and status, is documented."""
        documented = {}
        for _, _, operation, _ in rules.operations(self.document):
            documented[operation["operationId"]] = set(operation["responses"])
        for name, metrics in self.programs.metrics():
            routes = metrics.labels("metricmq_http_requests_total", "route") - {"none"}
            self.assertTrue(routes, name)
            for route in routes:
                codes = {dict(labels)["code"] for family, labels in metrics.samples
                         if family == "metricmq_http_requests_total" and ("route", route) in labels}
                known = set().union(*(codes for id, codes in documented.items()
                                      if id == route or id.startswith(route + "_")))
                self.assertLessEqual(codes - {"405"}, known, (name, route))

    def test_parameters(self):
        for path, method, operation, parameters in rules.operations(self.document):
            for one in parameters:
                if one["in"] != "query":
                    continue
                taken, refused = PARAMETERS[one["name"]]
                for value in taken + refused:
                    with self.subTest(method=method, path=path, parameter=one["name"], value=value):
                        ask = Ask(f"?{one['name']}={value}")
                        status = 200 if value in taken else 400
                        self.assertEqual(self.programs.send(ask, path, method)[0], status)
                        if one["schema"].get("type") is None:  # text, as it stands in the target
                            schema = rules.resolve(self.document, one["schema"])
                            fits = rules.validator(self.document, schema).is_valid(value.replace("+", " "))
                            self.assertTrue(fits or value in refused)

    def test_methods_are_those_that_the_program_takes(self):
        for path in self.document["paths"]:
            status, headers, _ = self.programs.send(Ask(), path, "brew")
            self.assertEqual(status, 405)
            methods = {method.upper() for at, method, _, _ in rules.operations(self.document) if at == path}
            self.assertEqual(set(headers["Allow"].split(", ")), methods | {"OPTIONS"}, path)
            status, headers, _ = self.programs.send(Ask(), path, "options")
            self.assertEqual((status, set(headers["Allow"].split(", "))), (204, methods | {"OPTIONS"}), path)

    def test_what_wants_no_key_says_so(self):
        for path, method, operation, _ in rules.operations(self.document):
            wanted = operation.get("security", self.document["security"])
            status, _, _ = self.programs.send(Ask(on="keyed"), path, method)
            self.assertEqual(status == 401, wanted != [], (method, path))
            self.assertEqual("401" in operation["responses"], wanted != [], (method, path))
            rights = {name for one in wanted for name in one["key"]}
            status, _, body = self.programs.send(Ask(on="righted"), path, method)
            self.assertEqual(status == 403, rights not in (set(), {"admin"}), (method, path))
            if status == 403 and method != "head":
                self.assertIn(f"`{rights.pop()}`", json.loads(body)["result"])

    def test_document_is_openapi(self):
        self.assertEqual(rules.faults(self.document), [])
        self.assertEqual(self.document["info"]["version"], harness.run("--version").out.split()[1])
        source = json.loads((harness.SOURCE / "clients/http/openapi.json").read_text())
        for path, item in source["paths"].items():
            self.assertEqual({**item, **self.document["paths"][path]}, self.document["paths"][path])
            self.assertEqual(self.document["paths"][path].get("head", {}).get("responses"),
                             item.get("get", {}).get("responses"))

    def test_rules_find_what_is_wrong(self):
        def operation(document):
            return document["paths"]["/_models/{uid}/data"]["get"]
        breaks = {
            "a key that is not known": lambda d: d.update(pahts={}),
            "no version": lambda d: d["info"].pop("version"),
            "version 3.0": lambda d: d.update(openapi="3.0.3"),
            "no responses": lambda d: operation(d).pop("responses"),
            "a status that is none": lambda d: operation(d)["responses"].update({"2000": {"description": "x"}}),
            "a response without description": lambda d: operation(d)["responses"]["200"].pop("description"),
            "a reference to nothing": lambda d: operation(d)["responses"].update(
                {"404": {"$ref": "#/components/responses/Nothing"}}),
            "a reference to the wrong kind": lambda d: operation(d)["responses"].update(
                {"404": {"$ref": "#/components/schemas/Error"}}),
            "a path's parameter without a name": lambda d: d["paths"]["/_models/{uid}/data"].pop("parameters"),
            "a parameter twice": lambda d: operation(d)["parameters"].append(operation(d)["parameters"][0]),
            "an operationId twice": lambda d: operation(d).update(operationId="models"),
            "a component that nothing uses": lambda d: d["components"]["schemas"].update(Stray={"type": "string"}),
            "a schema that is none": lambda d: d["components"]["schemas"]["Error"].update(type="objekt"),
            "an example that does not fit": lambda d: d["paths"]["/_logging/feedback"]["post"]["requestBody"]["content"]
            [JSON].update(example={"uid": 5}),
            "a key that is not described": lambda d: operation(d).update(security=[{"badge": []}]),
            "a tag that is not described": lambda d: operation(d)["tags"].append("stray"),
        }
        for what, spoil in breaks.items():
            broken = copy.deepcopy(self.document)
            spoil(broken)
            self.assertNotEqual(rules.faults(broken), [], what)


if __name__ == "__main__":
    harness.main()
