"""The frames of tests/vectors, sent and got by clients/python/metricmq.py; unit/lib/test_vectors.c does the same in C."""
import concurrent.futures
import json
import struct
import sys
import unittest

import fake_bus
import harness
import msgpack

sys.path[:0] = [str(harness.SOURCE / "clients" / "python"), str(harness.SOURCE / "tests" / "vectors")]
import make  # noqa: E402
import metricmq  # noqa: E402


def read(name):
    return json.loads((harness.SOURCE / "tests" / "vectors" / name).read_text())


def shown(row):
    bits = [None if number is None else struct.pack(">d", number).hex() for number in row[2:4]]
    return [row.uid, row.timestamp, *bits, row.rowid]


class Replay:
    """One vector against a broker of its own."""

    def __init__(self, case):
        self.case, self.asked, self.old = case, [], b"\xc0"
        self.bus = fake_bus.FakeBus()
        self.bus.answer = self.answer

    def answer(self, bus, peer, service, request):
        answer = self.case["answers"][min(len(self.asked), len(self.case["answers"]) - 1)]
        self.asked.append((request.get("cursor"), answer["asks"]))
        id = msgpack.packb(request["id"])
        for frames in answer["messages"]:
            bus.socket.send_multipart([peer] + [bytes.fromhex(frame.replace("{id}", id.hex()).replace("{old}", self.old.hex()))
                                                for frame in frames])
        self.old = id

    def run(self):
        """(rows, end, error)"""
        rows, error = [], None
        with metricmq.Client(self.bus.endpoint, timeout=self.case["limit_ms"] / 1000, trace="") as client:
            try:
                for row in client.query():
                    rows.append(shown(row))
            except metricmq.MetricmqError as fault:
                error = fault
            self.dropped = client.dropped
        self.bus.stop()
        return rows, error

    def faults(self):
        """What is not as it should be, as texts."""
        case, (rows, error) = self.case, self.run()
        if any(asked != wanted for asked, wanted in self.asked):
            yield f"asked for {self.asked}"
        if case["end"] == "whole":
            if error is not None or rows != case["rows"]:
                yield f"got {rows} and {error!r}"
            if (len(self.asked), self.dropped) != (case["requests"], case["dropped"]):
                yield f"{len(self.asked)} requests, {self.dropped} dropped"
            return
        most = case["rows"] + case["maybe"]
        if rows[:len(case["rows"])] != case["rows"] or most[:len(rows)] != rows:
            yield f"got {rows}"
        kinds = {"broken": (metricmq.ProtocolError, metricmq.Unavailable, metricmq.Timeout),
                 "protocol": (metricmq.ProtocolError,)}.get(case["end"])
        if kinds is None:
            if getattr(error, "status", None) != case["end"] or isinstance(error, metricmq.ProtocolError):
                yield f"ended by {error!r}"
        elif not isinstance(error, kinds):
            yield f"ended by {error!r}"
        if not str(error):
            yield "no sentence"


class Vectors(unittest.TestCase):
    def test_the_files_are_what_the_script_writes(self):
        for path, content in make.files().items():
            self.assertEqual(path.read_text(), content, f"run tests/vectors/make.py: {path.name}")

    def test_streams(self):
        replays = [Replay(case) for case in read("streams.json")]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for replay, faults in zip(replays, pool.map(lambda replay: list(replay.faults()), replays)):
                with self.subTest(replay.case["name"]):
                    self.assertEqual(faults, [])

    def test_requests(self):
        bus = fake_bus.FakeBus()
        self.addCleanup(bus.stop)
        bodies = []
        bus.answer = lambda bus, *envelope: bus.final(*envelope, status=400, error="seen")
        with metricmq.Client(bus.endpoint, trace="") as client:
            body = client._bus._body
            client._bus._body = lambda call: bodies.append(body(call)) or bodies[-1]
            for case in read("requests.json"):
                with self.subTest(case["body"]):
                    bodies.clear()
                    method, arguments = case["python"]
                    with self.assertRaises(metricmq.BadRequest):
                        for _ in getattr(client, method)(**arguments) or ():
                            pass
                    head = bodies[0]
                    fields = msgpack.unpackb(head, strict_map_key=False, unicode_errors="surrogateescape")
                    id, timeout = (msgpack.packb(fields[key]) for key in ("id", "timeout"))
                    want = (msgpack.Packer().pack_map_header(case["count"] + 2) + b"\xa2id" + id + b"\xa7timeout" + timeout
                            + bytes.fromhex(case["body"]))
                    self.assertEqual(head.hex(), want.hex())
                    self.assertEqual(bus.seen[-1][0], case["service"])


if __name__ == "__main__":
    harness.main()
