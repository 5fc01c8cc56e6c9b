"""The benchmarks' harness: what it measures on little data has figures, goals, JSON and charts. No figure is judged."""
import json
import os
import pathlib
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import harness

BENCH = harness.SOURCE / "tests" / "bench"
sys.path.insert(0, str(BENCH))
import report  # noqa: E402

KEYS = {"name", "value", "unit", "reference", "ratio", "goal", "ok"}


class Runs(harness.Case):
    def bench(self, *args):
        build = pathlib.Path(harness.PROGRAM).resolve().parent
        return subprocess.run([sys.executable, BENCH / "main.py", "--quick", "--repeats", "1", *map(str, args)],
                              capture_output=True, text=True, timeout=500,
                              env={**os.environ, "METRICMQ_BUILD": str(build), "METRICMQ_LOG_LEVEL": "error",
                                   "METRICMQ_BENCH_DATA": str(self.folder / "data")})

    def test_figures_goals_and_charts(self):
        done = self.bench("store", "bulk", "small", "adapter", "--json", self.folder / "json", "--svg", self.folder / "svg")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        figures = {figure["name"]: figure for figure in json.loads((self.folder / "json").read_text())}
        for figure in figures.values():
            self.assertEqual(set(figure), KEYS)
            self.assertGreater(figure["value"], 0, figure)
        for name in ("store_scan", "store_day", "anomaly", "bus_one", "bus_one_wall", "http_one", "day_bus",
                     "adapter_small", "adapter_idle", "adapter_beside_p99"):
            self.assertIsNotNone(figures[name]["goal"], name)
        for path in (self.folder / "svg").iterdir():
            xml.etree.ElementTree.parse(path)
        self.assertTrue((self.folder / "svg" / "goals.svg").exists())

    def test_what_cannot_be_measured_is_exit_1(self):
        (self.folder / "data").write_text("no folder")
        self.assertEqual(self.bench("store").returncode, 1)
        self.assertEqual(self.bench("nothing").returncode, 2)


class Goals(unittest.TestCase):
    def setUp(self):
        self.lines = []
        self.report = report.Report(self.lines.append)

    def test_medians_of_ratios_of_rounds(self):
        self.report.compare("rate", "rows/s", [10, 30, 24], [1, 2, 3], "ratio >= 9")
        self.report.value("cost", "us", [5, 1, 3], "value <= 2.5")
        self.report.value("plain", "us", [1])
        rate, cost, plain = (result.as_dict() for result in self.report.results)
        self.assertEqual(rate, {"name": "rate", "value": 24, "unit": "rows/s", "reference": 2, "ratio": 10,
                                "goal": "ratio >= 9", "ok": True})
        self.assertEqual((cost["value"], cost["ratio"], cost["goal"], cost["ok"]), (3, None, "value <= 2.5", False))
        self.assertEqual((plain["goal"], plain["ok"]), (None, True))
        self.assertIn("MISSED", self.lines[1])

    def test_figures_of_other_programs(self):
        self.report.take("ingest", {"name": "batches of 1 MiB", "value": 4, "unit": "rows/s", "reference": 2,
                                    "ratio": 2.0, "goal": 5, "ok": False})
        self.report.take("encoders", {"name": "encoders.json.runs", "value": 1, "unit": "rows/s", "reference": 1,
                                      "samples": [6, 8, 7], "reference_samples": [2, 2, 2]}, "ratio >= 4")
        ingest, encoders = self.report.results
        self.assertEqual((ingest.name, ingest.ratio, ingest.ok), ("ingest_batches_of_1_mib", 2.0, False))
        self.assertEqual((encoders.name, encoders.ratio, encoders.ok), ("encoders_json_runs", 3.5, False))


if __name__ == "__main__":
    harness.main()
