"""Commands, options and configuration as users meet them (F25, F31)."""
import concurrent.futures
import json
import re
import signal
import socket

import bus
import harness


class Usage(harness.Case):
    def refused(self, *args, status=2, **options):
        done = harness.run(*args, check=False, **options)
        self.assertEqual(done.returncode, status, (args, done.err))
        self.assertEqual(done.out, "")
        return done.err

    def test_help_and_version(self):
        self.assertRegex(harness.run("--version").out, r"^metricmq \d+\.\d+\.\d+\n$")
        commands = harness.run("--help").out
        for name in ("up", "broker", "worker", "http", "import", "demo", "models", "query", "feedback", "status", "spool", "check", "key",
                     "migrate"):
            self.assertIn(f"  {name} ", commands)
            text = harness.run(name, "--help").out
            self.assertIn(f"usage: metricmq {name}", text)
            self.assertIn("--log-level", text)
            self.assertEqual(harness.run(name, "-h").out, text)
            self.assertRegex(harness.run(name, "--version").out, "^metricmq ")

    def test_help_of_a_command(self):
        for name in ("query", "spool"):
            self.assertEqual(harness.run("help", name).out, harness.run(name, "--help").out)
        for more in ([], ["help"], ["--help"]):
            self.assertEqual(harness.run("help", *more).out, harness.run("--help").out)

    def test_what_was_meant(self):
        for words, said in ((("qury",), "did you mean `query`?"), (("help", "stat"), "did you mean `status`?"),
                            (("frobnicate",), "`metricmq help` lists them"),
                            (("worker", "qeury"), "did you mean `query`?"), (("worker",), "one of query, write, feedback"),
                            (("worker", "query", "write"), "start each by its own"),
                            (("keygen", "sever", "--curve", "x"), "did you mean `server`?"),
                            (("spool", "remove"), "see `metricmq spool --help`"),
                            (("query", "--limti", "1"), "did you mean --limit?"),
                            (("query", "--threads", "1"), "see --help"), (("query", "--limit"), "needs a value: N"),
                            (("query", "--config"), "needs a value: FILE")):
            line = self.refused(*words)
            self.assertIn(said, line)
            self.assertEqual(line.count("\n"), 1, line)
        file = self.folder / "metricmq.conf"
        file.write_text("thraeds = 3\n")
        self.assertIn("did you mean threads?", self.refused("up", "--config", file))

    def test_wrong_usage_is_2(self):
        self.assertIn("usage:", self.refused())
        self.assertIn("frobnicate", self.refused("frobnicate"))
        self.assertIn("--frob", self.refused("up", "--frob"))
        self.assertIn("threads", self.refused("up", "--threads", "many"))
        self.assertIn("worker", self.refused("worker"))
        self.assertIn("uid", self.refused("feedback"))
        self.assertIn("file", self.refused("import"))
        self.assertIn("format", self.refused("query", "--format", "xml"))
        self.assertIn("list, retry, drop", self.refused("spool"))
        for option, bad in (("spool-max", "0"), ("spool-jobs", "0"), ("uploads", "33"), ("archive-level", "10"),
                            ("upload-stall", "1ms"), ("s3-path-style", "maybe"), ("s3-insecure", "x")):
            self.assertIn(option, self.refused("up", f"--{option}={bad}"))
            self.assertIn(option, self.refused("worker", "feedback", f"--{option}={bad}"))

    def test_complaints_name_the_option_and_the_form(self):
        for words, said in ((("broker", "--bind", "nowhere"), "cannot bind nowhere: want tcp://ADDRESS:PORT"),
                            (("broker", "--bind", "tcp://127.0.0.1"), "want tcp://ADDRESS:PORT"),
                            (("models", "--connect", "tcp://a"), "want tcp://HOST:PORT"),
                            (("models", "--config", "none"), "--config none: No such file"),
                            (("models", "--curve-key", "none", "--curve-server", "b"), "--curve-server: none: No such file"),
                            (("query", "--from", "yesterday"), "--from=yesterday: want"),
                            (("query", "--to", "2026-13-01"), "--to=2026-13-01: want"),
                            (("keygen", "--curve", self.folder, "client", "a", "--rights", "all"), "--rights all: rights are"),
                            (("keygen", "--curve", self.folder, "client"), "client NAME"),
                            (("import", "--uid", "x", "a", "b"), "go with one file only")):
            line = self.refused(*words)
            self.assertIn(said, line)
            self.assertEqual(line.count("\n"), 1, line)

    def test_configuration_faults_name_the_option(self):
        """F31: unknown key, bad type, port in use, missing folder: exit 2 and one line."""
        file = self.folder / "metricmq.conf"
        data = ["--data", self.folder / "data", "--http", "127.0.0.1:0", "--bind", harness.LOCAL,
                "--bind-workers", harness.LOCAL]
        for text, named in (("frobnicate = 1\n", "frobnicate"), ("threads = many\n", "threads"),
                            ("log-level = loud\n", "log-level")):
            file.write_text(text)
            line = self.refused("up", *data, "--config", file)
            self.assertIn(named, line)
            self.assertEqual(line.count("\n"), 1, line)
        self.assertIn("missing.conf", self.refused("up", *data, "--config", self.folder / "missing.conf"))
        self.assertIn("METRICMQ_THREADS", self.refused("up", *data, env={"METRICMQ_THREADS": "many"}))
        self.assertIn("nowhere", self.refused("up", *data[2:], "--data", self.folder / "nowhere" / "deep"))
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.assertIn(str(port), self.refused("up", *data, "--http", f"127.0.0.1:{port}"))
            self.assertIn(str(port), self.refused("up", *data, "--bind", f"tcp://127.0.0.1:{port}"))
        for flag in ("--bind", "--bind-workers"):  # libzmq would take the port modulo 65536
            self.assertIn("65535", self.refused("up", *data, flag, "tcp://127.0.0.1:99999"))

    def test_settings_that_can_never_work_are_2(self):
        """A mistake in the configuration is told apart from a fault of the machine."""
        data = ["--data", self.folder / "data"]
        for settings in (["--store", "mysql:x"], ["--upload", "ftp:x"], ["--server-id", "a/b"]):
            named = settings[0].removeprefix("--")
            self.assertIn(named, self.refused("worker", "feedback", *data, *settings))
            line = self.refused("up", *data, "--http", "127.0.0.1:0", "--bind", harness.LOCAL, "--bind-workers",
                                harness.LOCAL, *settings)
            self.assertEqual((named in line, line.count("\n")), (True, 1), line)
        for command in (["worker", "query", *data], ["models"], ["query"], ["status"], ["demo"], ["feedback", "x"],
                        ["import", __file__], ["http", "--http", "127.0.0.1:0"]):
            for endpoint in ("nowhere", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999"):
                self.assertIn(endpoint, self.refused(*command, "--connect", endpoint, timeout=20))
                line = self.refused(*command, "--connect", f"tcp://127.0.0.1:1,{endpoint}", timeout=20)
                self.assertIn(endpoint, line)
            for bad, named in (("tcp://127.0.0.1:1,", "endpoint 2"), (",tcp://127.0.0.1:1", "endpoint 1"),
                               ("tcp://127.0.0.1:1,tcp://127.0.0.1:1", "tcp://127.0.0.1:1 is twice"),
                               (",".join(f"tcp://127.0.0.1:{port}" for port in range(1, 10)), "tcp://127.0.0.1:9")):
                self.assertIn(named, self.refused(*command, "--connect", bad, timeout=20))

    def test_flags_win_over_environment_over_file(self):
        file = self.folder / "metricmq.conf"
        for number, (name, flag, env) in enumerate(((1, [], {}), (2, [], {"METRICMQ_DATA": "env"}),
                                                    (3, ["--data", "flag"], {"METRICMQ_DATA": "env"}))):
            wanted = self.folder / f"{['file', 'env', 'flag'][number]}-{number}"
            file.write_text(f'data = "{self.folder}/file-{number}"\n')
            env = {key: str(self.folder / f"env-{number}") for key in env}
            flag = ["--data", self.folder / f"flag-{number}"] if flag else []
            with harness.Program("up", *flag, "--http", "127.0.0.1:0", "--bind", harness.LOCAL, "--bind-workers",
                                 harness.LOCAL, "--config", file, env=env) as program:
                self.assertEqual(program.ready["data"], str(wanted))

    def test_clients_without_a_broker(self):
        def refused(command):
            return self.refused(*command, "--connect", "tcp://127.0.0.1:1", status=1)
        commands = (["models"], ["query"], ["status"], ["demo"], ["feedback", "x"], ["import", __file__])
        with concurrent.futures.ThreadPoolExecutor(len(commands)) as at_once:  # each waits for seconds
            for line in at_once.map(refused, commands):
                self.assertIn("tcp://127.0.0.1:1", line)

    def test_no_worker_for_a_service(self):
        """F25: queued until the deadline, then 503 that says so."""
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            with bus.Bus(broker.ready["clients"]) as client:
                with self.assertRaises(bus.Refused) as refused:
                    client.call("metric.query", {"op": "data", "timeout": 300})
                self.assertEqual(refused.exception.status, 503)
                self.assertIn("metric.query", refused.exception.error)
                self.assertEqual(client.mmi("mmi.service", b"metric.query"), [b"404"])

    def test_roles_in_processes_of_their_own(self):
        data = self.folder / "data"
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            connect = ["--connect", broker.ready["workers"], "--data", data]
            with harness.Program("worker", "write", *connect), harness.Program("worker", "query", *connect), \
                    harness.Program("worker", "feedback", *connect), \
                    harness.Program("http", "--http", "127.0.0.1:0", "--connect", broker.ready["clients"]) as http:
                harness.wait_until(lambda: harness.http_get(http, "/health/ready")[0] == 200, what="readiness")
                client = ["--connect", broker.ready["clients"]]
                harness.run("demo", *client, "--metrics", 3, "--rows", 50)
                records = json.loads(harness.run("models", *client, "--format", "json").out)
                self.assertEqual(len(records), 3)
                uid = records[0]["uid"]
                table = harness.run("query", uid, *client, "--anomaly", -1)
                self.assertEqual(len(table.out.splitlines()), 51)
                for form in ("table", "json", "csv", "msgpack"):  # no rows of no metric would hide a slip of the pen
                    slip = harness.run("query", uid + "x", *client, "--format", form, check=False)
                    self.assertEqual((slip.returncode, slip.stdout, slip.err),
                                     (1, b"", f"metricmq: Metric not found: {uid}x\n"))
                key = harness.run("feedback", uid, *client, "--extra", "note=hello").out.strip()
                self.assertTrue((data / "uploads" / key).is_file(), key)
                for form, wanted in (("json", r'\{"key":"(.+)"\}\n'), ("csv", "key\r\n(.+)\r\n"), ("table", "(.+)\n")):
                    text = harness.run("feedback", uid, *client, "--format", form).stdout.decode()
                    self.assertTrue((data / "uploads" / re.fullmatch(wanted, text).group(1)).is_file(), text)
                packed = harness.run("feedback", uid, *client, "--format", "msgpack").stdout
                self.assertTrue((data / "uploads" / bus.unpack_all(packed)[0]["key"]).is_file(), packed)
                self.assertEqual(harness.run("feedback", "nobody", *client, check=False).returncode, 1)
                status = json.loads(harness.run("status", *client, "--format", "json").out)
                self.assertIn("metric.query", status["broker"]["services"])
                # a second write worker waits for the lock and says so
                standby = harness.Program("worker", "write", *connect, wait=False)
                harness.wait_until(lambda: "standby" in standby.errors(), what="the standby's word")
                standby.kill()

    def test_stop_during_import(self):
        """F28: SIGTERM does not wait for the end of --import; the same files again complete it."""
        file = self.folder / "big.csv"
        file.write_text("timestamp,value\n" + "".join(f"{1400000000 + i},{i}\n" for i in range(300000)))
        data = self.folder / "data"
        program = harness.Program("up", "--data", data, "--http", "127.0.0.1:0", "--bind", harness.LOCAL,
                                  "--bind-workers", harness.LOCAL, "--import", file, wait=False)
        harness.wait_until(lambda: "listening" in program.errors(), what="the adapter")
        program.process.send_signal(signal.SIGTERM)
        self.assertEqual(program.process.wait(30), 0)
        self.assertEqual(program.process.stdout.read(), b"", "it was never ready")
        program.stop()
        with harness.up(data, "--import", file) as program:
            records = json.loads(harness.http_get(program, "/_models")[2])
            self.assertEqual([record["last_rowid"] for record in records], [300000])

    def test_two_on_one_data_directory(self):
        with harness.up(self.folder / "data"):
            line = self.refused("up", "--data", self.folder / "data", "--http", "127.0.0.1:0", "--bind",
                                harness.LOCAL, "--bind-workers", harness.LOCAL, status=1)
            self.assertIn("metricmq.db", line)

    def test_stores_that_are_none(self):
        """F51: an empty, foreign, newer, damaged or missing file is refused and named."""
        with harness.up(self.folder / "data") as program:
            harness.run("demo", "--connect", program.ready["clients"], "--metrics", 2, "--rows", 500)
        good = (self.folder / "data" / "metricmq.db").read_bytes()
        for name, content in {"empty": b"", "text": b"hello" * 1000, "header": bytes(100) + good[100:],
                              "truncated": good[:len(good) // 2 + 17],
                              "newer": good[:60] + b"\x00\x00\x00\x63" + good[64:]}.items():
            path = self.folder / f"{name}.db"
            path.write_bytes(content)
            with self.subTest(name):
                line = self.refused("up", "--data", self.folder / name, "--store", f"sqlite:{path}", "--http",
                                    "127.0.0.1:0", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL, status=1)
                self.assertIn(f"{name}.db", line)
        with harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL) as broker:
            self.assertIn("nothing.db", self.refused("worker", "query", "--connect", broker.ready["workers"],
                                                     "--store", f"sqlite:{self.folder}/nothing.db",
                                                     "--data", self.folder / "x", status=1))


if __name__ == "__main__":
    harness.main()
