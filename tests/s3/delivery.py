"""What tests of the s3:// target share: put_object (tests/tools) run against a store, and files to be put."""
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

import fault_store

PROGRAM = os.environ.get("METRICMQ_PUT_OBJECT", "put_object")
SLOW = "asan" in PROGRAM or "tsan" in PROGRAM
REPORT = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|CHECK failed")
MIB = 1 << 20
LARGE = 65 * MIB  # nine parts, the last of them short


def environment(endpoint, **more):
    """Nothing of the caller's is seen but what a program needs to run."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "S3_", "PUT_")) and not name.lower().endswith("_proxy")}
    kept.update(S3_ENDPOINT=endpoint, AWS_ACCESS_KEY_ID=fault_store.ACCESS,
                AWS_SECRET_ACCESS_KEY=fault_store.SECRET, AWS_EC2_METADATA_DISABLED="true", S3_STALL_MS="1500")
    kept.update({name: str(value) for name, value in more.items() if value is not None})
    return {name: value for name, value in kept.items() if more.get(name, "") is not None}


def start(path, endpoint, key="key.tar.gz", url="s3://bucket", **more):
    return subprocess.Popen([PROGRAM, str(path), url, key], env=environment(endpoint, **more), text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, timeout=120):
    """What each put came to; fails on a sanitizer's report, and if a secret shows."""
    out, err = process.communicate(timeout=timeout)
    if REPORT.search(err) or process.returncode not in (0, 1):
        raise AssertionError(f"put_object: exit {process.returncode}\n{out}{err}")
    if "canary" in out + err:
        raise AssertionError("a secret shows:\n" + out + err)
    return [json.loads(line) for line in out.splitlines()]


def put(path, endpoint, **more):
    return finish(start(path, endpoint, **more))[0]


class TestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mmq-s3-")
        cls.at = pathlib.Path(cls.folder.name)
        generator = random.Random(20261128)
        cls.small, cls.large = cls.at / "small", cls.at / "large"
        cls.small.write_bytes(generator.randbytes(100000))
        cls.large.write_bytes(generator.randbytes(LARGE))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.store = fault_store.Store()
        self.addCleanup(self.store.stop)

    def put(self, path, **more):
        return put(path, self.store.endpoint, **more)

    def expect(self, outcome, result, kind="", why=""):
        """The outcome's error, class, and what the sentence must say."""
        self.assertEqual((outcome["result"], outcome["class"]), (result, kind), outcome)
        self.assertRegex(outcome["why"], why or "^")
        # Twenty times a second whoever waits for it is asked whether to go on; a busy machine is late now and then.
        self.assertGreaterEqual(outcome["ticks"], int(2 * outcome["seconds"]), outcome)

    def expect_object(self, path, key="key.tar.gz", only=True):
        """The store has the file under the key, and (only) nothing else, half or whole."""
        data = path.read_bytes()
        self.assertEqual(hashlib.sha256(self.store.objects[key]).digest(), hashlib.sha256(data).digest())
        self.assertEqual(self.store.meta[key]["x-amz-meta-sha256"], hashlib.sha256(data).hexdigest())
        self.assertEqual(self.store.meta[key]["x-amz-meta-uid"], "a-uid")
        self.assertEqual(self.store.meta[key]["content-type"], "application/gzip")
        if only:
            self.assertEqual(list(self.store.objects), [key])
            self.assertEqual(self.store.uploads, {})

    def expect_nothing(self):
        self.assertEqual(self.store.objects, {})
        self.assertEqual(self.store.uploads, {})
