"""`spool`, `feedback --wait` and `status`: dumps that cannot be uploaded, as operators meet them. F62, F67, F69, F71."""
import csv
import fcntl
import io
import json
import os
import pty
import select
import subprocess
import threading
import time

import harness


class Spool(harness.Case):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        self.uploads = self.data / "uploads"
        self.spool = self.data / "spool"

    def block(self):
        """From now on nothing can be uploaded."""
        self.data.mkdir(exist_ok=True)
        self.uploads.write_text("in the way")

    def mend(self):
        self.uploads.unlink()

    def start(self, *options):
        program = harness.up(self.data, *options)
        self.client = ["--connect", program.ready["clients"]]
        return program

    def demo(self):
        harness.run("demo", *self.client, "--metrics", 1, "--rows", 2000)
        return json.loads(harness.run("models", *self.client, "--format", "json").out)[0]["uid"]

    def dump(self, uid, note="x", *options, **named):
        return harness.run("feedback", uid, *self.client, "--extra", f"note={note}", *options, **named)

    def run_spool(self, *args, **named):
        return harness.run("spool", *args, "--data", self.data, **named)

    def entries(self):
        return json.loads(self.run_spool("list", "--format", "json").out)

    def failed_entry(self):
        """The one entry, once a delivery of it was counted as failed."""
        return harness.wait_until(lambda: next((entry for entry in self.entries() if entry["attempts"]), None),
                                  what="a failed delivery")

    def aside(self, count):
        """The entries, if they are so many and all in quarantine."""
        entries = self.entries()
        return entries if [entry["state"] for entry in entries] == ["quarantine"] * count else None

    def refused(self, *args, status=1):
        done = self.run_spool(*args, check=False)
        self.assertEqual((done.returncode, done.out), (status, ""), done.err)
        return done.err

    def test_blocked_target_and_retry(self):
        """Waits, says why, and `retry` of another process is heard at once."""
        self.block()
        with self.start():
            uid = self.demo()
            done = self.dump(uid)
            key = done.out.strip()
            self.assertIn("not uploaded yet", done.err)
            entry = self.failed_entry()
            self.assertEqual((entry["uid"], entry["key"]), (uid, key))
            self.assertIn(entry["state"], ("waiting", "uploading"))
            self.assertIn("uploads", entry["error"])
            self.assertEqual(len(entry["name"]), 32)
            harness.wait_until(lambda: (self.entries()[0]["next_s"] or 0) > 4, 60, "a long wait")
            status = harness.run("status", *self.client).out
            self.assertRegex(status, r"spool 1 jobs \(1 waiting, 0 settings, 0 held\), [\d.]+ KiB, oldest [\d.]+s, 0 in")
            self.assertIn("last error: ", status)
            self.mend()
            start = time.monotonic()
            self.assertEqual(self.run_spool("retry").out, f"{entry['name']}: due now\n")
            harness.wait_until(lambda: (self.uploads / key).exists(), what="the upload")
            self.assertLess(time.monotonic() - start, 30 if harness.SLOW else 3)
            harness.wait_until(lambda: self.entries() == [], what="an empty spool")
            self.assertNotIn("last error", harness.run("status", *self.client).out)

    def test_without_workers(self):
        """list, retry and drop on a spool that nobody is at."""
        self.block()
        with self.start():
            uid = self.demo()
            keys = [self.dump(uid, note).out.strip() for note in "ab"]
        entries = self.entries()
        self.assertEqual(sorted(entry["key"] for entry in entries), sorted(keys))
        table = self.run_spool("list").out.splitlines()
        self.assertRegex(table[0], "^NAME +STATE +AGE +SIZE +ATTEMPTS +NEXT +KEY +ERROR$")
        self.assertEqual(len(table), 3)
        rows = list(csv.DictReader(io.StringIO(self.run_spool("list", "--format", "csv").out, newline="")))
        for row, entry in zip(rows, entries):
            for name in ("name", "state", "key", "error", "uid"):
                self.assertEqual(row[name], entry[name])
            self.assertEqual(int(row["size"]), entry["size"])
            self.assertGreaterEqual(int(row["attempts"]), 3)
        first, second = (entry["name"] for entry in entries)
        self.assertIn(f"{first}: due now", self.run_spool("retry", first).out)
        self.assertEqual(self.entries()[0]["next_s"], 0)
        common = os.path.commonprefix([first, second])
        for end in "01":  # names that begin alike, which those of two dumps need not
            (self.spool / "quarantine" / f"zz-{end}").mkdir()
        self.assertIn("any of 2", self.refused("drop", "zz-"))
        for end in "01":
            (self.spool / "quarantine" / f"zz-{end}").rmdir()
        self.assertIn("holds no", self.refused("drop", "zzz"))
        folder = os.open(self.spool / first, os.O_RDONLY)  # as its owner
        fcntl.flock(folder, fcntl.LOCK_EX)
        self.assertEqual(self.entries()[0]["state"], "uploading")
        self.assertIn("uploaded right now", self.refused("drop", first))
        os.close(folder)
        self.assertEqual(self.run_spool("drop", second[:len(common) + 1]).out, f"{second}: dropped\n")
        self.assertEqual([entry["name"] for entry in self.entries()], [first])
        self.mend()
        with self.start():
            harness.wait_until(lambda: self.entries() == [], what="an empty spool")
            self.assertEqual(len(list((self.uploads / "metric_dumps").iterdir())), 1)

    def test_usage(self):
        for args in ([], ["list", "x"], ["drop"], ["frobnicate"]):
            done = self.run_spool(*args, check=False)
            self.assertEqual((done.returncode, done.out), (2, ""), done.err)
        self.assertIn("data", self.refused("list"))
        self.data.mkdir()
        self.assertIn("no spool", self.refused("list"))
        self.assertEqual(list(self.data.iterdir()), [])

    def test_quarantine(self):
        """What was put aside says why; mended it is delivered."""
        self.block()
        with self.start():
            key = self.dump(self.demo()).out.strip()
        archive = next(self.spool.glob("[0-9a-f]*/archive.tar.gz"))
        name = archive.parent.name
        good = archive.read_bytes()
        archive.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        os.mkfifo(self.spool / "f\nifo")
        self.mend()
        with self.start():
            aside = harness.wait_until(lambda: self.aside(2), what="quarantine")
            job = next(entry for entry in aside if entry["name"].startswith(name))
            self.assertEqual((job["key"], job["error"]), (key, "an archive's bytes changed in the spool"))
            stray = next(entry for entry in aside if entry is not job)
            self.assertTrue(stray["name"].startswith("f?ifo-"), stray)
            self.assertIn("2 in quarantine", harness.run("status", *self.client).out)
            (self.spool / "quarantine" / job["name"] / "archive.tar.gz").write_bytes(good)
            self.assertEqual(self.run_spool("retry").out, f"{job['name']}: put back, due now\n")
            harness.wait_until(lambda: (self.uploads / key).exists(), what="the upload")
            self.assertIn("never was a job", self.refused("retry", "f"))
            self.run_spool("drop", "f")
            self.assertEqual(self.entries(), [])

    def test_full_spool(self):
        """F67: refused with a sentence that says what to do, and nothing is built."""
        self.block()
        with self.start("--spool-jobs", 1) as program:
            uid = self.demo()
            self.dump(uid)
            done = self.dump(uid, "more", "--timeout", "2s", check=False)
            self.assertEqual(done.returncode, 1)
            for word in ("full", "--spool-jobs", "metricmq spool list"):
                self.assertIn(word, done.err)
            self.assertEqual(len(self.entries()), 1)
            self.assertEqual(harness.http_get(program, "/health/live")[0], 200)
            self.mend()
            self.run_spool("retry")
            harness.wait_until(lambda: self.entries() == [], what="an empty spool")
            self.assertEqual(self.dump(uid, "more").err, "")
        with self.start("--spool-max", "1K"):
            done = self.dump(uid, "big", "--timeout", "2s", check=False)
            self.assertEqual(done.returncode, 1, done.err)
            for word in ("no room", "--spool-max", "metricmq spool list"):
                self.assertIn(word, done.err)
            self.assertEqual(self.entries(), [])

    def wait_in(self, uid, stderr):
        return subprocess.Popen([harness.PROGRAM, "feedback", uid, *self.client, "--wait"], stdout=subprocess.PIPE,
                                stderr=stderr)

    def finish(self, process, read, texts):
        """Reads what it says until it has said it waits; mends the target, and returns key and all that was said."""
        said = b""
        while b"waiting" not in said:
            self.assertTrue(select.select([read], [], [], 30)[0], said)
            said += os.read(read, 4096)
        self.mend()
        holder = [said]

        def drain():
            try:
                while more := os.read(read, 4096):
                    holder[0] += more
            except OSError:  # a pseudo-terminal's end
                pass
        thread = threading.Thread(target=drain)
        thread.start()
        self.assertEqual(process.wait(60), 0)
        thread.join()
        key = process.stdout.read().decode().strip()
        process.stdout.close()
        self.assertTrue((self.uploads / key).is_file(), key)
        for text in texts:
            self.assertIn(text, holder[0])
        return holder[0]

    def test_wait(self):
        """On a terminal with progress, in a pipe without; the reason is told once."""
        self.block()
        with self.start():
            uid = self.demo()
            master, slave = pty.openpty()
            process = self.wait_in(uid, slave)
            os.close(slave)
            said = self.finish(process, master, [b"building the archive", b"uploads", b"waiting ("])  # an upload that fails at once is not seen
            os.close(master)
            self.block_again()
            read, write = os.pipe()
            process = self.wait_in(uid, write)
            os.close(write)
            said = self.finish(process, read, [b"waiting (", b"uploads"])
            os.close(read)
            self.assertNotIn(b"\r", said)
            self.assertNotIn(b"building", said)
            self.assertEqual(said.count(b"\n"), 1, said)

    def block_again(self):
        for path in sorted(self.uploads.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        self.uploads.rmdir()
        self.block()

    def test_without_wait_and_delivered(self):
        with self.start():
            done = self.dump(self.demo(), "x", "--wait")
            self.assertEqual(done.err, "")
            self.assertTrue((self.uploads / done.out.strip()).is_file())


if __name__ == "__main__":
    harness.main()
