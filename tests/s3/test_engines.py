"""The stores that other tests trust: they take the right keys alone, and leave nothing behind, however a test ends."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import harness
from s3 import engines

NOBODY = "65534"
HOLD = """
import json, sys
from s3 import engines
held = [engines.start(kind) for kind in sys.argv[1:]]
print(json.dumps([engine.told for engine in held]), flush=True)
sys.stdin.read()
for engine in held:
    engine.stop()
"""


def is_gone(told):
    port = int(told["endpoint"].rsplit(":", 1)[1])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0 and not pathlib.Path(told["folder"]).exists()


class Engines(harness.Case):
    def setUp(self):
        super().setUp()
        for kind in engines.PROGRAMS:
            engines.require(kind)

    def hold(self, prefix=()):
        """A test that holds both stores: (its process, what it was told)."""
        shutil.copytree(engines.HERE, self.folder / "code" / "s3")  # nobody may be unable to read the checkout
        (self.folder / "temporary").mkdir()
        (self.folder / "temporary").chmod(0o777)
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "code"), "TMPDIR": str(self.folder / "temporary")}
        process = subprocess.Popen([*prefix, sys.executable, "-c", HOLD, *engines.PROGRAMS], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=environment, cwd="/")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        return process, json.loads(process.stdout.readline())

    def wait_gone(self, told):
        harness.wait_until(lambda: all(map(is_gone, told)), 30, "the end of the stores")

    def test_a_test_that_is_killed(self):
        process, told = self.hold()
        self.assertFalse(any(map(is_gone, told)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.wait_gone(told)
        self.assertEqual(list((self.folder / "temporary").iterdir()), [])

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_nobody_can_start_them(self):
        self.folder.chmod(0o755)
        process, told = self.hold(prefix=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"))
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)
        self.wait_gone(told)

    def test_a_keeper_that_is_killed(self):
        with engines.radosgw() as engine:
            engine.keeper.kill()
            engine.keeper.wait()
            address = ("127.0.0.1", int(engine.endpoint.rsplit(":", 1)[1]))
            with self.assertRaises(AssertionError):
                engine.stop()
            harness.wait_until(lambda: not self.listens(address), 30, "the end of the store")
            engine.keeper = None
            subprocess.run(["rm", "-r", "--", engine.told["folder"]], check=True)

    def listens(self, address):
        with socket.socket() as probe:
            return probe.connect_ex(address) == 0


if __name__ == "__main__":
    harness.main()
