"""F57: numbers and times at the edges, by every way in and every way out: exact, or refused with a reason."""
import csv
import io
import json
import math
import struct
import sys
import tarfile
import time

import msgpack

import bus
import harness

TIMES = (-62135596800, -1, 0, 1, 253402300799)  # years 1 and 9999, and where the epoch's sign changes
VALUES = (0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1e308, sys.float_info.max,
          -sys.float_info.max, 0.1, 1e16, 2.0 ** 53, 1 / 3)
NOT_NUMBERS = (math.nan, math.inf, -math.inf)


def bits(value):
    """Tells -0.0 from 0.0."""
    return struct.pack(">d", value)


def strict(text):
    """JSON as the standard has it: Python's own would take NaN."""
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")
    return json.loads(text, parse_constant=refuse)


def date(seconds):
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


class Numbers(harness.Case):
    def setUp(self):
        super().setUp()
        self.program = harness.up(self.folder / "data")
        self.addCleanup(self.program.__exit__, None, None, None)
        self.connect = ("--connect", self.program.ready["clients"])
        self.client = bus.Bus(self.program.ready["clients"])
        self.addCleanup(self.client.socket.close)
        random = harness.seed()
        values = [*VALUES]
        while len(values) < 400:
            value, = struct.unpack(">d", random.randbytes(8))
            values += [value] * math.isfinite(value)
        # times repeat and go back
        self.rows = [(random.choice(TIMES), value, random.choice([None, 0.0, 0.5, 1.0]), None) for value in values]

    def create(self, uid):
        self.client.call("metric.write", {"op": "create", "metric": {"uid": uid, "datasource": "custom", "name": uid}})

    def append(self, uid, rows):
        self.client.call("metric.write", {"op": "append", "uid": uid, "rows": bus.pack_rows(rows)})

    def get(self, path, accept="application/json"):
        status, _, text = harness.http_get(self.program, path, {"Accept": accept})
        self.assertEqual(status, 200, text)
        return text.decode()

    def check(self, uid):
        """All ways out give the rows, to the last bit."""
        wanted = sorted((when, number, bits(value), score)
                        for number, (when, value, score, _) in enumerate(self.rows, 1))
        stream = self.client.stream({"op": "data", "uid": uid, "from": TIMES[0], "anomaly": -1})
        self.assertEqual([(when, number, bits(value), score)
                          for _, when, value, score, number in bus.rows_of(stream)], wanted)
        texts = [(date(when), number, value, score) for when, number, value, score in wanted]
        path = f"/_models/{uid}/data?from=0001-01-01&anomaly=-1"
        self.assertEqual([(when, number, bits(float(value)), score)
                          for when, value, score, number in strict(self.get(path))["data"]], texts)
        lines = [strict(line) for line in self.get(path, "application/x-ndjson").splitlines()]
        self.assertEqual([(line["timestamp"], line["rowid"], bits(float(line["value"])), line["anomaly_score"])
                          for line in lines], texts)
        table = csv.DictReader(io.StringIO(self.get(path, "text/csv")))
        self.assertEqual([(row["timestamp"], int(row["rowid"]), bits(float(row["value"])),
                           float(row["anomaly_score"]) if row["anomaly_score"] else None) for row in table], texts)
        key = harness.run("feedback", uid, *self.connect).out.strip()
        with tarfile.open(self.folder / "data" / "uploads" / key) as archive:
            dump = io.TextIOWrapper(archive.extractfile("metric_data.csv"), newline="")
            self.assertEqual([(row["timestamp"], bits(float(row["metric_value"]))) for row in csv.DictReader(dump)],
                             [(date(when), bits(value)) for when, value, *_ in self.rows])

    def test_exact_over_the_bus(self):
        self.create("bus")
        self.append("bus", self.rows)
        self.check("bus")

    def test_exact_over_http(self):
        body = [{"datasource": "custom", "uid": "http", "metric": "http",
                 "data": [[value, date(when), score, None] for when, value, score, _ in self.rows]}]
        self.assertEqual(harness.http_get(self.program, "/_models", method="POST", body=json.dumps(body))[0], 201)
        self.check("http")

    def test_exact_from_files(self):
        path = self.folder / "file.csv"
        path.write_text("timestamp,value,anomaly_score\n" + "".join(
            f"{date(when)},{value!r},{'' if score is None else score}\n" for when, value, score, _ in self.rows))
        self.check(harness.run("import", *self.connect, path).out.split()[0])

    def test_refused_over_the_bus(self):
        self.create("bus")
        good = (1, 1.0, None, None)
        bad = [(1, value, None, None) for value in NOT_NUMBERS]
        bad += [(1, 1.0, score, None) for score in NOT_NUMBERS] + [(1, 1.0, None, score) for score in NOT_NUMBERS]
        bad += [(when, 1.0, None, None) for when in (TIMES[0] - 1, TIMES[-1] + 1, -(1 << 63), (1 << 64) - 1, 1.5,
                                                     math.nan, "1", None)]
        bad += [(1, value, None, None) for value in (None, "1", True, b"\x00", [1.0])]
        for row in bad:
            with self.subTest(row), self.assertRaises(bus.Refused) as refused:
                self.append("bus", [good, row])
            self.assertEqual(refused.exception.status, 400)
        header, payload = self.client.call("metric.query", {"op": "model", "uid": "bus"})
        self.assertEqual((header["status"], msgpack.unpackb(payload)["last_rowid"]), (200, 0))

    def test_refused_over_http(self):
        for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan", "0x10", "1.", ".5", "+1", "01", "null"):
            body = ('[{"datasource":"custom","uid":"http","metric":"http","data":'
                    f'[[1,"2014-01-01 00:00:00"],[{number},"2014-01-01 00:00:00"]]}}]')
            with self.subTest(number):
                status, _, text = harness.http_get(self.program, "/_models", method="POST", body=body)
                self.assertEqual(status, 400, text)
                strict(text)
        for when in ("0000-01-01 00:00:00", "10000-01-01 00:00:00", "2014-02-30 00:00:00", ""):
            body = json.dumps([{"datasource": "custom", "uid": "http", "metric": "http", "data": [[1, when]]}])
            self.assertEqual(harness.http_get(self.program, "/_models", method="POST", body=body)[0], 400, when)
        self.assertEqual(harness.http_get(self.program, "/_models/http")[0], 404)

    def test_refused_from_files(self):
        for number in ("nan", "inf", "-inf", "1e999", "Infinity", "0x1p3", "1.5e", ""):
            path = self.folder / "bad.csv"
            path.write_text(f"timestamp,value\n1,1\n2,{number}\n")
            done = harness.run("import", *self.connect, path, check=False)
            self.assertEqual(done.returncode, 1, number)
            self.assertRegex(done.err, r"bad\.csv\b.*\b3\b", number)
        self.assertEqual(strict(self.get("/_models")), [])


if __name__ == "__main__":
    harness.main()
