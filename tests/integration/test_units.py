"""The units of ops/systemd: sound, tight (systemd-analyze security), and wide enough to work in."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest

import confine
import harness
import manager

LAUNCHER = pathlib.Path(confine.__file__).resolve()
NAMES = sorted(path.name for path in confine.UNITS.glob("*.service"))
INSTALLED = "/usr/bin/metricmq"
EXPOSURE_MAX = 20  # tenths


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "SYSTEMD_COLORS": "0"})


class Units(harness.Case):
    def setUp(self):
        super().setUp()
        harness.require("systemd-analyze")

    def test_there_is_one_for_each_role(self):
        commands = {confine.of(name, "ExecStart")[0].split(" --")[0] for name in NAMES}
        self.assertEqual(commands, {f"{INSTALLED} {role}" for role in (
            "up", "broker", "http", "worker query", "worker write", "worker feedback")})
        self.assertEqual(sorted(confine.of("metricmq.target", "Wants")[0].split()),
                         sorted(name for name in NAMES if "-" in name and "@" not in name))

    def test_a_template_is_what_it_is_made_of(self):
        """But for what names the instance."""
        one, many = ([pair for pair in confine.settings(name) if pair[0] not in ("Description", "EnvironmentFile")]
                     for name in ("metricmq-query.service", "metricmq-query@.service"))
        self.assertEqual(one, many)

    def test_they_say_how_they_are(self):
        for name in NAMES:
            with self.subTest(name):
                self.assertEqual([confine.of(name, key) for key in ("Type", "NotifyAccess", "WatchdogSec")],
                                 [["notify"], ["main"], ["30s"]])

    def test_they_are_started_again(self):
        """However often; but not with a configuration that is wrong."""
        for name in NAMES:
            with self.subTest(name):
                self.assertEqual([confine.of(name, key) for key in ("Restart", "RestartPreventExitStatus",
                                                                    "StartLimitIntervalSec")],
                                 [["on-failure"], ["2"], ["0"]])

    def test_all_in_one_or_each_for_itself(self):
        for name in NAMES:
            with self.subTest(name):
                whole = name == "metricmq.service"
                self.assertEqual((confine.of(name, "PartOf"), confine.of(name, "Conflicts")),
                                 ([], ["metricmq.target"]) if whole else (["metricmq.target"], []))
        self.assertEqual(confine.of("metricmq.target", "Conflicts"), ["metricmq.service"])

    def test_who_reads_things_again(self):
        """A unit can be told to if its role has something of the kind: the options that say so."""
        for name in NAMES:
            with self.subTest(name):
                role = confine.of(name, "ExecStart")[0].split(" --")[0].split()[1:]
                options = harness.run(*role, "--help").out
                self.assertEqual(bool(confine.of(name, "ExecReload")),
                                 "--api-keys" in options or re.search("--curve DIR", options) is not None)

    def test_exposure(self):
        for name in NAMES:
            with self.subTest(name):
                done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", confine.UNITS / name)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                print(done.stdout.strip().splitlines()[-1], flush=True)

    def test_systemd_understands_them(self):
        copies = []
        for name in [*NAMES, "metricmq.target"]:
            copies.append(self.folder / name.replace("@", "@2"))
            text = (confine.UNITS / name).read_text()
            copies[-1].write_text(text.replace(f"={INSTALLED} ", f"={pathlib.Path(harness.PROGRAM).resolve()} "))
        done = analyze("verify", "--man=no", "--recursive-errors=no", *copies)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_they_have_one_sandbox(self):
        blocks = {(confine.UNITS / name).read_text().split("# ---- the sandbox")[1] for name in NAMES}
        self.assertEqual(len(blocks), 1)

    def test_they_wait_for_what_is_in_flight(self):
        drain_s = int(re.search(r"^  --drain-timeout.*?default\s+(\d+)s", harness.run("up", "--help").out, re.M | re.S).group(1))
        for name in NAMES:
            self.assertGreater(int(confine.of(name, "TimeoutStopSec")[0].removesuffix("s")), drain_s, name)

    def test_what_may_write(self):
        """Data belongs to who writes it; a query worker, the broker and the adapter write no file at all."""
        writers = {name for name in NAMES if confine.of(name, "StateDirectory")}
        self.assertEqual(writers, {"metricmq.service", "metricmq-write.service", "metricmq-feedback.service"})
        for name in NAMES:
            self.assertEqual(confine.of(name, "ProtectSystem"), ["strict"])
            self.assertEqual(confine.of(name, "ReadWritePaths"), [])


@unittest.skipIf(harness.SLOW, "a sanitizer's runtime makes system calls of its own")
class Within(harness.Case):
    """The program at work within a unit's system calls: one that steps outside is killed."""

    def setUp(self):
        super().setUp()
        harness.require("systemd-analyze")
        self.holder = contextlib.ExitStack()
        self.addCleanup(self.holder.close)

    def start(self, unit, *arguments, **options):
        command = confine.of(unit, "ExecStart")[0].split()[1:]
        with_data = [str(self.folder / "data") if word == "/var/lib/metricmq" else word for word in command]
        told = manager.Manager(self.folder, abstract=True, period_s=1)
        self.addCleanup(told.close)
        program = self.holder.enter_context(harness.Program(
            *with_data, *arguments, prefix=("/usr/bin/python3", LAUNCHER, unit),
            env={**told.environment(), **options.pop("env", {})}, **options))
        told.wait("READY")
        told.wait("WATCHDOG")
        return program

    def work(self, connect, http, key_status):
        rows = self.folder / "rows.csv"
        rows.write_text("timestamp,value,anomaly_score\n" + "".join(f"{1400000000 + n},{n},0.5\n" for n in range(20000)))
        uid = harness.run("import", "--connect", connect, rows).out.split()[0]
        status, _, text = harness.http_get(http, f"/_models/{uid}/data?anomaly=-1")
        self.assertEqual((status, len(json.loads(text)["data"])), (200, 20000))
        self.assertEqual(harness.http_get(http, "/_models/data", {"Accept": "application/octet-stream",
                                                                  "Accept-Encoding": "gzip"})[0], 200)
        big = [{"datasource": "custom", "uid": "big", "metric": "big",
                "data": [[n, "2020-01-01 00:00:00"] for n in range(40000)]}]
        self.assertEqual(harness.http_get(http, "/_models", method="POST", body=json.dumps(big))[0], 201)
        self.assertEqual(harness.http_get(http, "/_logging/feedback", method="POST",
                                          body=json.dumps({"uid": uid}))[0], key_status)
        self.assertEqual(harness.http_get(http, "/_models/big", method="DELETE")[0], 200)
        for path in ("/metrics", "/health/ready", "/"):
            self.assertEqual(harness.http_get(http, path)[0], 200)

    def test_all_in_one(self):
        program = self.start("metricmq.service", "--http", "127.0.0.1:0", "--bind", harness.LOCAL, "--bind-workers",
                             harness.LOCAL)
        self.work(program.ready["clients"], program, 200)

    def test_each_role(self):
        """The store of dumps is asked for by name, and is not there: 202."""
        broker = self.start("metricmq-broker.service", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        workers = ("--connect", broker.ready["workers"])
        self.start("metricmq-write.service", *workers)
        harness.wait_until((self.folder / "data" / "metricmq.db").exists, what="the store")
        self.start("metricmq-query.service", *workers)
        self.start("metricmq-feedback.service", *workers, "--upload", "s3://dumps", "--s3-endpoint",
                   "https://localhost:9", env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        http = self.start("metricmq-http.service", "--http", "127.0.0.1:0", "--connect", broker.ready["clients"])
        harness.wait_until(lambda: harness.http_get(http, "/health/ready")[0] == 200, what="readiness")
        self.work(broker.ready["clients"], http, 202)

    def test_who_steps_outside_is_killed(self):
        """Else this would prove nothing."""
        done = subprocess.run(["/usr/bin/python3", LAUNCHER, "metricmq.service", "/usr/bin/python3", "-c",
                               "import os; os.pipe(); print('in', flush=True); os.sched_setaffinity(0, {0})"],
                              capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (-signal.SIGSYS, "in\n"), done.stderr)


if __name__ == "__main__":
    harness.main()
