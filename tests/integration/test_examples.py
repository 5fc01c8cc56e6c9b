"""clients/examples, built with the program, against `up`; and against the installed tree alone."""
import pathlib
import subprocess
import unittest

import bus
import harness
import msgpack

BUILD = pathlib.Path(harness.PROGRAM).resolve().parent
EXAMPLES = sorted((harness.SOURCE / "clients" / "examples").glob("*.c"))


def run(name, *args, input=""):
    done = subprocess.run([BUILD / f"example_{name}", *args], input=input, capture_output=True, text=True, timeout=60)
    if harness.REPORT.search(done.stderr):
        raise AssertionError(done.stderr)
    return done


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.program = harness.up(harness.temporary_folder(cls) / "data")
        cls.addClassCleanup(cls.program.stop)
        cls.clients = cls.program.ready["clients"]

    def test_rows_go_in_and_come_out(self):
        with bus.Bus(self.clients) as client:
            record = client.call("metric.write", {"op": "create", "metric": {"datasource": "custom", "name": "n"}})[1]
        uid = bus.unpack_all(record)[0]["uid"]
        rows = "100 0.1\n160 -0.0\n220 1e300\n"
        for _ in range(2):  # the second time nothing is added
            done = run("append_scores", self.clients, uid, "1", input=rows)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = run("rows_csv", self.clients, uid, "1970-01-01 00:00:00").stdout.splitlines()
        self.assertEqual(lines[0], "uid,timestamp,value,anomaly_score,rowid")
        self.assertEqual([line.split(",")[1:3] for line in lines[1:]], [["100", "0.10000000000000001"], ["160", "-0"],
                                                                       ["220", "1.0000000000000001e+300"]])
        self.assertEqual([line.split(",")[4] for line in lines[1:]], ["1", "2", "3"])
        self.assertEqual(lines[1].split(",")[3], "0")
        for bad, told in (("100 0.1\n160\n", "line 2"), ("100 0.1 7\n", "line 1"), ("", "usage"), ("1 2\n", "")):
            done = run("append_scores", self.clients, "nobody", "1", input=bad)
            self.assertEqual(done.returncode, 1)
            self.assertIn(told, done.stderr)

    def test_rows_csv_refuses(self):
        self.assertEqual(run("rows_csv").returncode, 2)
        for args in ((self.clients, "data"), (self.clients, "u", "yesterday"), ("nothing",)):
            done = run("rows_csv", *args)
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr.startswith("rows_csv: "), done.stderr)

    def test_a_worker(self):
        self.assertEqual(run("mean_worker").returncode, 2)
        worker = subprocess.Popen([BUILD / "example_mean_worker", self.program.ready["workers"]])
        try:
            with bus.Bus(self.clients) as client:
                header, payload = client.call("example.mean", {"values": [1, 2.5, -2]})
                self.assertEqual((header["status"], msgpack.unpackb(payload)), (200, 0.5))
                for bad in ({}, {"values": 5}, {"values": []}, {"values": ["1"]}, {"values": [None]}):
                    with self.assertRaises(bus.Refused) as caught:
                        client.call("example.mean", bad)
                    self.assertEqual(caught.exception.status, 400)
        finally:
            worker.terminate()
            self.assertEqual(worker.wait(20), 0)

    def test_they_see_public_headers_only(self):
        for path in EXAMPLES:
            text = path.read_text()
            self.assertLess(text.count("\n"), 100, path.name)
            self.assertNotRegex(text, r'#include "')
            subprocess.run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                            harness.SOURCE / "include", path], check=True)


if __name__ == "__main__":
    harness.main()
