"""Feedback to real object stores: radosgw and Swift's s3api. What is read back is read by curl, zlib and tarfile.

F60-F66, F68, F75 in the ordinary tests; ops/faults has more of each.
"""
import hashlib
import json
import os
import re
import unittest

import bus
import dumps
import harness
import house
import kills
from s3 import engines
from s3.authority import Authority

KEY = re.compile(r"[-\w./]*metric_dumps/[-A-Za-z0-9_.]+-metric_dump_[-A-Za-z0-9_.]+_\d{8}-\d{6}-[0-9a-f]{8}\.tar\.gz")
PART_BYTES, SINGLE_MAX = 8 << 20, 64 << 20


class OnEngine(harness.Case):
    """Tests on one store, which is started once."""

    options = {}

    @classmethod
    def setUpClass(cls):
        cls.engine = engines.start(cls.kind, **cls.options)
        cls.addClassCleanup(cls.engine.stop)
        cls.buckets = 0

    def setUp(self):
        super().setUp()
        type(self).buckets += 1
        self.bucket = f"dumps-{self.buckets}"
        self.random = harness.seed()

    def house(self, **options):
        """A house whose target is a bucket of this test, with a metric: (house, uid)."""
        place = house.House(self.folder, self.random, house.S3Store(self.engine, self.bucket, **options))
        self.addCleanup(place.__exit__, None, None, None)
        return place, place.load(few=300)[0]

    def counts(self, place, **wanted):
        """Waits until the spool's counts are these."""
        harness.wait_until(lambda: wanted.items() <= place.counts().items(), 20 * house.SLOWER, f"{wanted}")

    def listed(self, place):
        return harness.run("spool", "list", "--data", place.data).out


class Dumps:
    """What every store must do."""

    def test_an_object_is_the_file_of_the_same_request(self):
        place, uid = self.house(prefix="some/where")
        with place.worker():
            status, key = place.ask(uid, 1)
            self.assertEqual((status, bool(KEY.fullmatch(key))), (200, True), key)
            self.assertTrue(key.startswith("some/where/metric_dumps/"), key)
            place.check({key: (uid, {"number": 1})})
            head = place.store.client.head(self.bucket, key).headers
            self.assertEqual(place.ask(uid, 1), (200, key))  # again: the same object
            again = place.store.client.head(self.bucket, key).headers
        body = place.store.objects()[key]
        self.assertEqual(head["etag"], again["etag"])
        self.assertEqual(head["etag"].strip('"'), hashlib.md5(body).hexdigest())
        self.assertEqual((head["x-amz-meta-uid"], head["x-amz-meta-sha256"]), (uid, dumps.digest(body)))
        files = house.FileStore(self.folder / "uploads")
        with place.role("feedback", *files.options):
            self.assertEqual(place.ask(uid, 1)[0], 200)
        self.assertEqual(list(files.objects().values()), [body])

    def test_over_http(self):
        store = house.S3Store(self.engine, self.bucket)
        rows = list(dumps.source_rows(self.random, 50))
        dumps.write_csv(self.folder / "held.csv", rows, True)
        with harness.up(self.folder / "data", *store.options, env=store.environment) as program:
            uid = harness.run("import", "--connect", program.ready["clients"], self.folder / "held.csv").out.split()[0]
            extra = {"email": "a@example.com", "text": "quotes \"', \u20ac"}
            status, _, key = harness.http_get(program, "/_logging/feedback", method="POST",
                                              body=json.dumps({"uid": uid, **extra}))
        self.assertEqual(status, 200, key)
        (found, body), = store.objects().items()
        self.assertEqual(found, key.decode().strip())
        path = self.folder / "archive.tar.gz"
        path.write_bytes(body)
        about, csv = dumps.members(path)
        self.assertEqual(csv, dumps.wanted_csv(uid, rows, True))
        self.assertEqual({name: about[name] for name in extra}, extra)

    def test_wrong_secret_then_the_right_one_in_the_file(self):
        """F62: kept, visible, not tried again and again; delivered when the file is mended, without a restart."""
        place, uid = self.house()
        path = self.folder / "credentials"
        self.write_credentials(path, "wrong" + self.engine.secret_key)
        place.store.environment = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_PROFILE": "dumps"}
        with place.worker():
            status, key = place.ask(uid, 1)
            self.assertEqual(status, 202, key)
            self.counts(place, jobs=1, settings=1)
            self.assertIn("settings", place.status())
            shown = self.listed(place)
            self.assertIn("settings", shown)
            self.assertNotIn(self.engine.secret_key, shown)
            self.assertEqual(place.store.objects(), {})
            self.write_credentials(path, self.engine.secret_key)
            harness.run("spool", "retry", "--data", place.data)
            place.wait_empty()
        place.check({key: (uid, {"number": 1})})

    def write_credentials(self, path, secret):
        aside = path.with_suffix(".new")
        aside.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n\n[dumps]\n"
                         f"aws_access_key_id = {self.engine.access_key}\naws_secret_access_key = {secret}\n")
        os.replace(aside, path)

    def test_wrong_secret_then_the_right_one_after_a_restart(self):
        place, uid = self.house()
        with place.worker(env={"AWS_SECRET_ACCESS_KEY": "wrong"}):
            status, key = place.ask(uid, 1)
            self.assertEqual(status, 202, key)
            self.counts(place, jobs=1, settings=1)
        with place.worker():
            place.wait_empty()
        place.check({key: (uid, {"number": 1})})

    def test_no_bucket(self):
        """F64: kept and visible; delivered when somebody has made it."""
        place, uid = self.house(make=False)
        with place.worker():
            status, key = place.ask(uid, 1)
            self.assertEqual(status, 202, key)
            self.counts(place, jobs=1, settings=1)
            self.assertIn(self.bucket, self.listed(place))
            place.store.client.make_bucket(self.bucket)
            harness.run("spool", "retry", "--data", place.data)
            place.wait_empty()
        place.check({key: (uid, {"number": 1})})

    def test_bucket_in_the_name_of_the_host(self):
        place, uid = self.house()
        place.store.options = ["--upload", f"s3://{self.bucket}", "--s3-endpoint", self.engine.named]
        with place.worker():
            status, key = place.ask(uid, 1)
            self.assertEqual(status, 200, key)
        place.check({key: (uid, {"number": 1})})

    def test_store_that_is_down(self):
        """F60, F68: 202, and delivered over restarts and kills when it is back."""
        place, uid = self.house()
        options, place.store.options = place.store.options, [
            option if "127.0.0.1" not in option else "http://127.0.0.1:9" for option in place.store.options]
        accepted = {}
        for number in range(3):
            with place.worker() as worker:
                status, key = place.ask(uid, number)
                self.assertEqual(status, 202, key)
                accepted[key] = (uid, {"number": number})
                self.counts(place, jobs=number + 1, waiting=number + 1)
                worker.kill()
        place.store.options = options
        with place.worker():
            place.wait_empty()
        place.check(accepted)


class Radosgw(Dumps, OnEngine):
    kind = "radosgw"

    def test_kills(self):
        """F68: see test_archives; here the store is radosgw."""
        run = kills.Kills(self.folder, self.random, house.S3Store(self.engine, self.bucket, "kept"), workers=2)
        run.run(8 if harness.SLOW else 20)
        print(f"{len(run.accepted)} accepted, {dict(run.count)}, {run.calls} calls; at {dict(run.steps)}", flush=True)


class Swift(Dumps, OnEngine):
    kind = "swift_s3"


class Sessions(OnEngine):
    """A radosgw that gives session tokens, with a certificate of an authority that no machine knows."""

    kind = "radosgw"

    @classmethod
    def setUpClass(cls):
        folder = harness.temporary_folder(cls)
        authority = Authority(folder, "authority")
        authority.context("store", "IP:127.0.0.1")
        cls.authority = authority.certificate
        cls.options = {"sts": True, "tls": [str(folder / "store.pem"), str(folder / "store.key")]}
        super().setUpClass()

    def test_session_token(self):
        access_key, secret_key, token = self.engine.client().assume_role(self.engine.role)
        place, uid = self.house()
        keys = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
        with place.worker(env={**keys, "AWS_SESSION_TOKEN": token}):
            status, first = place.ask(uid, 1)
            self.assertEqual(status, 200, first)
        middle = len(token) // 2
        altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1:]
        accepted = {first: (uid, {"number": 1})}
        for number, environment in ((2, {**keys, "AWS_SESSION_TOKEN": altered}), (3, keys)):
            with place.worker(env=environment):
                status, key = place.ask(uid, number)
                self.assertEqual(status, 202, key)
                accepted[key] = (uid, {"number": number})
                self.counts(place, jobs=number - 1, waiting=0)  # "held" where the store only says: invalid
        self.assertEqual(list(place.store.objects()), [first])
        with place.worker(env={**keys, "AWS_SESSION_TOKEN": token}):
            place.wait_empty()
        place.check(accepted)

    def test_authority(self):
        """F66: a certificate of an unknown authority, or for another host, is refused; kept and visible."""
        place, uid = self.house()
        plain = place.store.options
        place.store.options = [self.engine.tls if option == self.engine.endpoint else option for option in plain]
        other = self.engine.tls.replace("127.0.0.1", "s3.localhost")
        with place.worker("--s3-ca-file", self.authority):
            status, first = place.ask(uid, 1)
            self.assertEqual(status, 200, first)
        with place.worker(env={"AWS_CA_BUNDLE": str(self.authority)}):
            status, second = place.ask(uid, 2)
            self.assertEqual(status, 200, second)
        accepted = {first: (uid, {"number": 1}), second: (uid, {"number": 2})}
        for number, options in ((3, []), (4, ["--s3-endpoint", other, "--s3-ca-file", self.authority])):
            with place.worker(*options):
                status, key = place.ask(uid, number)
                self.assertEqual(status, 202, key)
                accepted[key] = (uid, {"number": number})
                self.counts(place, settings=number - 2)
                self.assertIn("certificate", self.listed(place))
        self.assertEqual(len(place.store.objects()), 2)
        with place.worker("--s3-ca-file", self.authority):
            place.wait_empty()
        place.check(accepted)


@unittest.skipIf(harness.SLOW, "its rows take a sanitizer too long; smaller archives take every other path")
class Great(OnEngine):
    """An archive that needs a multipart upload."""

    kind = "radosgw"
    options = {"store": "bluestore"}
    def test_multipart(self):
        """F75: killed in its middle, its leftovers are aborted and the next one is whole."""
        place, _ = self.house()
        place.load_great()
        log = self.folder / "killed.log"
        fault = house.preload(KILL_AT=200, KILL_AT_CALLS="send", KILL_AT_PATH=place.addresses["store"], KILL_AT_LOG=log)
        with place.worker(env=fault) as worker, bus.Bus(place.endpoint) as client:
            client.send("metric.feedback", {"op": "dump", "uid": "great", "created": 1700000001, "extra": {"number": 1},
                                            "timeout": 120000})
            worker.process.wait(120)
            self.assertRegex(log.read_text(), "^send ")
            worker.kill()
        self.assertEqual(place.store.objects(), {})
        self.assertNotEqual(place.store.left_over(), [])
        with place.worker() as worker:
            key = place.ask_until("great", 1, timeout_ms=120000)
            place.wait_empty()
            peak = worker.peak()
        place.check({key: ("great", {"number": 1})})
        body = place.store.objects()[key]
        self.assertGreater(len(body), SINGLE_MAX)
        head = place.store.client.head(self.bucket, key).headers
        parts = [body[at:at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]
        sums = b"".join(hashlib.md5(part).digest() for part in parts)
        self.assertEqual(head["etag"].strip('"'), f"{hashlib.md5(sums).hexdigest()}-{len(parts)}")
        self.assertEqual((head["x-amz-meta-uid"], head["x-amz-meta-sha256"]), ("great", dumps.digest(body)))
        self.assertLess(peak, 128 << 20, "memory grows with the archive")
        print(f"{len(body)} bytes in {len(parts)} parts; peak {peak >> 20} MiB", flush=True)


if __name__ == "__main__":
    harness.main()
