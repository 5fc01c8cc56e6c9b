"""`metricmq check-config`: what it finds, what it shows, and that whatever runs is not touched."""
import contextlib
import os
import pathlib
import re
import socket
import stat
import subprocess

import harness

# Nothing of the tests' own variables.
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("METRICMQ_", "AWS_"))}
NOBODY = 65534


class CheckConfig(harness.Case):
    def check(self, *args, env=None, status=0, user=None):
        """What it shows, as a dict of key: (value, source), and its lines of stderr."""
        done = subprocess.run([harness.PROGRAM, "check-config", *map(str, args)], capture_output=True, text=True,
                              env={**CLEAN, **(env or {})}, cwd=self.folder, user=user, group=user,
                              extra_groups=[] if user else None, timeout=60)
        self.assertFalse(harness.REPORT.search(done.stderr), done.stderr)
        self.assertEqual(done.returncode, status, done.stderr)
        lines = done.stderr.splitlines()
        self.assertTrue(all(line.startswith("metricmq: ") for line in lines), lines)
        self.out = done.stdout
        shown = dict(re.findall(r"^(?:# )?([-a-z0-9]+) = (.*) # .*$", done.stdout, re.M))
        self.sources = dict(re.findall(r"^(?:# )?([-a-z0-9]+) = .* # (.*)$", done.stdout, re.M))
        return shown, [line.removeprefix("metricmq: ") for line in lines]

    def refused(self, *args, **options):
        return self.check(*args, status=2, **options)[1]

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def test_what_holds(self):
        file = self.write("m.conf", "threads = 5\nqueue-max = 7\nlog-level = warn\n")
        shown, lines = self.check("broker", "--config", file, "--drain-timeout", "3s",
                                  env={"METRICMQ_QUEUE_BYTES": "1M", "METRICMQ_LOG_LEVEL": "debug"})
        self.assertEqual(lines, [])
        self.assertEqual(shown, {"bind": "tcp://127.0.0.1:5750", "bind-workers": "tcp://127.0.0.1:5751",
                                 "insecure": "false", "queue-max": "7", "queue-bytes": "1M", "drain-timeout": "3s",
                                 "log-level": "debug", "log-format": "logfmt"})  # no threads: it takes none
        self.assertEqual([self.sources[key] for key in ("bind", "queue-max", "queue-bytes", "drain-timeout")],
                         ["default", str(file), "METRICMQ_QUEUE_BYTES", "--drain-timeout"])

    def test_what_it_shows_is_a_file(self):
        tricky = ["--server-id", "x", "--cors-origin", "https://a", "--cors-origin", "https://b", "--import", "a b#c",
                  "--data", "it's"]
        (self.folder / "a b#c").touch()
        shown, _ = self.check("up", *tricky)
        self.assertEqual(self.out.count("cors-origin = "), 2)
        first = self.out
        self.assertEqual(self.check("up", "--config", self.write("shown.conf", first))[0], shown)
        self.assertEqual([line.split(" # ")[0] for line in self.out.splitlines()],
                         [line.split(" # ")[0] for line in first.splitlines()])

    def test_defaults_that_follow_from_others(self):
        self.assertEqual(self.check("worker", "query", "--data", "there")[0]["store"], "sqlite:there/metricmq.db")
        self.assertIn("\n# store = ", self.out)
        self.assertEqual(self.check("worker", "query")[0]["connect"], "tcp://127.0.0.1:5751")
        self.assertEqual(self.check("http")[0]["connect"], "tcp://127.0.0.1:5750")

    def test_a_secret_is_not_shown(self):
        key = "a-key-that-nobody-guesses"
        file = self.write("m.conf", f"api-key = {key}\n")
        for mode, warned in ((0o600, 0), (0o644, 1)):
            file.chmod(mode)
            _, lines = self.check("http", "--config", file)
            self.assertIn(f"# api-key: set, not shown ({file})\n", self.out)
            self.assertEqual(sum("others may read it" in line for line in lines), warned, lines)
            self.assertNotIn(key, self.out + str(lines))
        self.check("http", env={"METRICMQ_API_KEY": key})
        self.assertIn("not shown (METRICMQ_API_KEY)", self.out)
        self.assertNotIn(key, self.out)
        self.assertIn("can be guessed", self.check("http", env={"METRICMQ_API_KEY": "short"})[1][0])

    def test_all_that_is_wrong(self):
        file = self.write("m.conf", "threads = many\nthraeds = 3\n  indented = 1\nno pair\ncurve = nowhere\n"
                                    "tls-cert = nothing.pem\ncors-origin = a.example\nbind-workers = 127.0.0.1\n")
        lines = self.refused("up", "--config", file, "--bidn", "x", "--limit", "--data", file, "--import", "no.csv",
                             "--upload", "ftp://x", "--http", "127.0.0.1", "--server-id", "a b",
                             env={"METRICMQ_QUEUE_MAX": "0", "METRICMQ_BINDD": "x", "METRICMQ_STORE": "mysql:x"})
        for wanted in ("--bidn: unknown option; did you mean --bind?", "--limit: this command has no such option",
                       "METRICMQ_QUEUE_MAX=0: want a whole number", f"--config {file}: threads=many: want",
                       f"--config {file}: thraeds: unknown key; did you mean threads?",
                       f"--config {file}: line 3: lines must not be indented",
                       f"--config {file}: line 4: want: key = value",
                       "warning: METRICMQ_BINDD: there is no such option; did you mean METRICMQ_BIND?",
                       "cannot bind 127.0.0.1: want tcp://", "--curve nowhere: there is no such folder",
                       "a store is named sqlite:PATH", "--tls-cert and --tls-key go together",
                       "--cors-origin a.example: want", "--import no.csv: No such file",
                       "cannot listen on 127.0.0.1: not HOST:PORT", f"--data {file}: {file} is not a folder"):
            self.assertEqual(sum(line.startswith(wanted) for line in lines), 1, (wanted, lines))
        for part in ("ftp://x", "server-id"):
            self.assertTrue(any(part in line for line in lines), (part, lines))
        self.assertNotRegex(self.out, r"(?m)^(threads|queue-max) = ")  # what was refused is not what holds

    def test_usage(self):
        for args, said in (((), "up, broker, worker, http"), (("brokr",), "did you mean `broker`?"),
                           (("worker",), "one of query, write, feedback"), (("worker", "qeury"), "one of query"),
                           (("broker", "http"), "takes one role")):
            line, = self.refused(*args)
            self.assertIn(said, line)
            self.assertEqual(self.out, "")

    def test_a_file_that_is_not_there(self):
        self.assertIn("--config none.conf: No such file", self.refused("broker", "--config", "none.conf")[0])

    def test_a_role_says_what_it_says(self):
        """What the roles refuse is refused here, in their words."""
        loose = self.write("loose", "", 0o666)
        for args in (["http", "--http", "0.0.0.0:0"], ["http", "--http-host", "a/b"], ["http", "--api-keys", loose],
                     ["http", "--connect", "tcp://a:1,,"], ["broker", "--bind", "tcp://*:*"],
                     ["http", "--curve-key", "x"], ["worker", "write", "--curve-key", "x", "--curve-server", "y"],
                     ["worker", "query", "--connect", "nowhere"], ["worker", "feedback", "--upload", "s3://B"]):
            with self.subTest(args):
                line, = [line for line in self.refused(*args) if not line.startswith("warning: ")]
                said = harness.run(*args, check=False).err
                self.assertIn(f"metricmq: {line}\n", said)

    def test_keys_are_read(self):
        keys = self.folder / "keys"
        for args in (["server"], ["client", "one"], ["worker", "two"]):
            harness.run("keygen", "--curve", keys, *args)
        self.check("broker", "--bind", "tcp://*:*", "--curve", keys)
        pair = ["--curve-key", keys / "workers" / "two.cert_secret", "--curve-server", keys / "server.cert"]
        secret = next(keys.rglob("two.cert_secret"))
        pair[1] = secret
        self.check("worker", "query", *pair)
        secret.chmod(0o644)
        self.assertIn("two.cert_secret", self.refused("worker", "query", *pair)[0])
        (keys / "clients" / "one.cert").write_text("damaged")
        self.assertIn("one.cert", self.refused("broker", "--curve", keys)[0])

    def test_addresses(self):
        for endpoint, said in (("tcp://198.51.100.1:5750", "Cannot assign"), ("tcp://127.0.0.1:70000", "up to 65535"),
                               ("tcp://127.0.0.1:x", "up to 65535"), ("tcp://nonsense.invalid:1", "No such device"),
                               ("ipc://none/socket", "No such file"), ("quic://x:1", "rotocol")):
            line, = self.refused("broker", "--bind", endpoint, "--insecure")
            self.assertTrue(line.startswith(f"--bind {endpoint} cannot be bound: ") and said in line, line)
        for endpoint in ("tcp://127.0.0.1:*", "tcp://[::1]:5750", "ipc://socket", "tcp://lo:5750", "ipc://@abstract"):
            self.check("broker", "--bind", endpoint, "--insecure")
        self.assertIn("same endpoint", self.refused("broker", "--bind", "tcp://127.0.0.1:1", "--bind-workers",
                                                    "tcp://127.0.0.1:1")[0])
        self.assertIn("Cannot assign", self.refused("http", "--http", "198.51.100.1:80", "--insecure")[0])
        self.write("file", "")
        for path, said in (("none/socket", "No such file"), ("file", "no socket"), ("", "1 to 107 bytes")):
            self.assertIn(said, self.refused("http", "--http", f"unix:{path}")[0])

    def test_a_role_that_runs_is_not_touched(self):
        """Its addresses are taken, its files are there: no fault. Nothing is made or moved."""
        address = harness.LOCAL.removesuffix(":*")
        unix = self.folder / "socket"
        with harness.Program("up", "--data", self.folder / "data", "--http", f"unix:{unix}", "--bind",
                             f"{address}:*", "--bind-workers", f"ipc://{self.folder}/workers") as program:
            args = ["up", "--data", self.folder / "data", "--http", f"unix:{unix}", "--bind", program.ready["clients"],
                    "--bind-workers", program.ready["workers"]]
            before = self.files()
            self.assertEqual(self.check(*args)[1], [])
            self.assertEqual(self.files(), before)
            harness.run("demo", "--metrics", "1", "--rows", "1", "--connect", program.ready["clients"])
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(str(unix))
        before = self.files()
        self.check("up", "--data", self.folder / "fresh", "--upload", f"file:{self.folder}/far/away")
        self.assertEqual(self.files(), before)

    def files(self):
        return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in self.folder.rglob("*")}

    def test_a_store_that_is_not_there(self):
        """It is for the write worker to make it, where it can."""
        _, lines = self.check("worker", "query", "--data", "data")
        self.assertEqual(lines, ["warning: the write worker has not made the store yet: data/metricmq.db: "
                                 "No such file or directory"])
        self.assertIn("the store: none: No such", self.refused("worker", "write", "--store", "sqlite:none/x.db")[0])
        self.assertIn("none: No such file", self.refused("worker", "write", "--data", "none/data")[0])

    def test_credentials(self):
        args = ["worker", "feedback", "--upload", "s3://bucket"]
        home = {"HOME": str(self.folder)}
        self.assertIn("warning: --upload: there are no AWS credentials", self.check(*args, env=home)[1][-1])
        half = {**home, "AWS_ACCESS_KEY_ID": "x"}
        self.assertIn("only one is set", self.refused(*args, env=half)[-1])
        lines = self.check(*args, env={**half, "AWS_SECRET_ACCESS_KEY": "hidden"})[1]
        self.assertFalse([line for line in lines if "AWS" in line])
        self.assertNotIn("hidden", self.out)

    def test_rights(self):
        """As the user that asks has them."""
        if os.geteuid() != 0:
            self.skipTest("only root can be somebody else")
        self.folder.chmod(stat.S_IRWXU | stat.S_IROTH | stat.S_IXOTH)
        for parent in pathlib.Path(harness.PROGRAM).resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                self.skipTest(f"nobody else can run what is in {parent}")
        (self.folder / "data").mkdir(mode=0o755)
        self.assertIn("nothing can be made in the folder data", self.refused("worker", "write", "--data", "data",
                                                                             user=NOBODY)[0])
        self.write("data/metricmq.db", "")
        self.assertIn("data/metricmq.db cannot be read: Permission denied",
                      self.refused("worker", "query", "--data", "data", user=NOBODY)[0])
        self.assertIn("no right to port 80", self.refused("broker", "--bind", "tcp://127.0.0.1:80", user=NOBODY)[0])
        self.assertIn("Permission denied", self.refused("http", "--http", "127.0.0.1:80", user=NOBODY)[0])


if __name__ == "__main__":
    harness.main()
