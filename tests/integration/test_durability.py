"""kill -9 of `up` between and during writes: every acknowledged row is there after a restart."""
import shutil
import threading

import msgpack

import bus
import harness

ROUNDS = 4 if harness.SLOW else 12
BASE = 1700000000


class Writer(threading.Thread):
    """Appends numbered batches until the program dies; knows what was acknowledged."""

    def __init__(self, endpoint, uid, start):
        super().__init__()
        self.endpoint, self.uid, self.sent = endpoint, uid, start
        self.acknowledged = start
        self.going = threading.Event()
        self.stopping = threading.Event()

    def run(self):
        with bus.Bus(self.endpoint, timeout=2) as client:
            while not self.stopping.is_set():
                count = 1 + self.sent % 50
                rows = [(BASE + n, float(n), None, None) for n in range(self.sent + 1, self.sent + 1 + count)]
                try:
                    client.call("metric.write", {"op": "append", "uid": self.uid, "first_rowid": self.sent + 1,
                                                 "rows": bus.pack_rows(rows), "timeout": 1500})
                except (TimeoutError, bus.Refused):
                    return
                self.sent += count
                self.acknowledged = self.sent
                self.going.set()


class Durability(harness.Case):
    def test_acknowledged_rows_survive_kill(self):
        random = harness.seed()
        data = self.folder / "data"
        known = {}
        for round_number in range(ROUNDS):
            program = harness.up(data)
            try:
                self.check_rows(program, known)
                writers = self.start_writers(program, known)
                for writer in writers:
                    self.assertTrue(writer.going.wait(20))
                threading.Event().wait(random.random() * 0.2)  # the random point, not a wait for anything
            finally:
                program.kill()
            for writer in writers:
                writer.stopping.set()
                writer.join()
                known[writer.uid] = writer.acknowledged
        with harness.up(data) as program:
            self.check_rows(program, known)
            print(f"F53: {ROUNDS} kills, {sum(known.values())} rows acknowledged, none lost")

    @harness.sqlite_only("there is no file to copy")
    def test_stopped_the_file_alone_is_the_store(self):
        data = self.folder / "data"
        with harness.up(data) as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", 3, "--rows", 500)
            status, _, before = harness.http_get(program, "/_models/data?anomaly=-1")
            self.assertEqual(status, 200)
        copy = self.folder / "copy"
        copy.mkdir()
        shutil.copy(data / "metricmq.db", copy)
        with harness.up(copy) as program:
            self.assertEqual(harness.http_get(program, "/_models/data?anomaly=-1")[2], before)

    def start_writers(self, program, known):
        writers = []
        with bus.Bus(program.ready["clients"]) as client:
            for number in range(4):
                record = msgpack.unpackb(client.call("metric.write", {
                    "op": "create", "metric": {"datasource": "custom", "name": f"writer-{number}"}})[1])
                writers.append(Writer(program.ready["clients"], record["uid"], record["last_rowid"]))
                self.assertGreaterEqual(record["last_rowid"], known.get(record["uid"], 0))
        for writer in writers:
            writer.start()
        return writers

    def check_rows(self, program, known):
        with bus.Bus(program.ready["clients"]) as client:
            for uid, acknowledged in known.items():
                rows = bus.rows_of(client.stream({"op": "data", "uid": uid, "from": 0, "anomaly": -1}))
                self.assertGreaterEqual(len(rows), acknowledged)
                wanted = [(uid, BASE + n, float(n), None, n) for n in range(1, len(rows) + 1)]
                self.assertEqual(rows, wanted)


if __name__ == "__main__":
    harness.main()
