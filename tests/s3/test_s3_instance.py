"""Credentials from an instance's metadata service: asked by IMDSv2, kept until shortly before they expire, and a
service that is not there, slow or hostile costs seconds and ends in a sentence. F62, F74."""
import socket
import unittest

import delivery
import instance


class Instance(delivery.TestCase):
    def setUp(self):
        super().setUp()
        self.service = instance.Service()
        self.addCleanup(self.service.stop)
        self.store.keys = {self.service.access: (self.service.secret, self.service.session)}
        self.settings = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "HOME": self.at / "nobody",
                         "AWS_EC2_METADATA_DISABLED": None,
                         "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.service.endpoint}

    def deliver(self, **more):
        return self.put(self.small, **{**self.settings, **more})

    def expect_none(self, outcome, why="no credentials"):
        self.expect(outcome, "MMQ_EDENIED", "settings", why)
        self.assertEqual(self.store.requests, [])

    def run_later(self, *later_s):
        """Puts, each so many seconds after the one before."""
        process = delivery.start(self.small, self.store.endpoint, PUT_TIMES=len(later_s) + 1, PUT_READ=1,
                                 **self.settings)
        process.stdin.write("".join(f"{seconds}\n" for seconds in later_s))
        return delivery.finish(process)

    def test_role(self):
        self.expect(self.deliver(), "MMQ_OK")
        self.expect_object(self.small)
        self.assertEqual([path for _, path in self.service.requests],
                         ["/latest/api/token", instance.ROLES, instance.ROLES + "a-role%2Bx"])

    def test_file_comes_first(self):
        shared = self.at / "shared"
        shared.write_text("[default]\naws_access_key_id = F\naws_secret_access_key = canary\n")
        self.store.keys = {"F": ("canary", "")}
        self.expect(self.deliver(AWS_SHARED_CREDENTIALS_FILE=shared), "MMQ_OK")
        self.assertEqual(self.service.requests, [])

    def test_kept_until_shortly_before_they_expire(self):
        self.store.clock_offset = 7200  # of no matter: the client learns it
        self.service.lifetime_s = 3600
        for outcome in self.run_later(1000, 1000, 1000):
            self.expect(outcome, "MMQ_OK")
        self.assertEqual(len(self.service.requests), 3)
        self.service.requests.clear()
        for outcome in self.run_later(3200, 150, 0, 0):  # from 3300 s on they are asked for, once in 5 s
            self.expect(outcome, "MMQ_OK")
        self.assertEqual(len(self.service.requests), 6)

    def test_service_that_dies_does_not_take_good_keys_with_it(self):
        self.service.lifetime_s = 600
        process = delivery.start(self.small, self.store.endpoint, PUT_TIMES=2, PUT_READ=1, **self.settings)
        self.assertIn("MMQ_OK", process.stdout.readline())
        self.service.answers["/latest/api/token"] = (500, b"")
        process.stdin.write("400\n")
        self.expect(delivery.finish(process)[0], "MMQ_OK")

    def test_off(self):
        self.expect_none(self.deliver(AWS_EC2_METADATA_DISABLED="TRUE"))
        self.assertEqual(self.service.requests, [])

    def test_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        outcome = self.deliver(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}")
        self.expect_none(outcome, "no credentials.*does not answer")

    def test_connection_that_hangs(self):
        """F60: as where there is no such service, and nothing says so."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            outcome = self.deliver(AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{port}")
            self.expect_none(outcome, "no credentials.*does not answer")
            self.assertLess(outcome["seconds"], 8)
            self.assertGreater(outcome["ticks"], 5)
            for one in waiting:
                one.close()

    def test_failure_is_kept(self):
        """It is not asked for each put anew."""
        self.service.answers["/latest/api/token"] = (403, b"")
        for outcome in self.run_later(0, 0, 0):
            self.expect_none(outcome)
        self.assertEqual(len(self.service.requests), 1)

    def test_answer_that_hangs(self):
        for path in ("/latest/api/token", instance.ROLES, instance.ROLES + "a-role%2Bx"):
            self.service.answers = {path: lambda handler: handler.rfile.read(1)}
            outcome = self.deliver()
            self.expect_none(outcome, "no credentials.*does not answer")
            self.assertLess(outcome["seconds"], 10)

    def test_broken_off(self):
        self.service.answers = {"/latest/api/token": lambda handler: handler.rfile.read(1)}
        outcome = self.deliver(PUT_STOP_MS=300)
        self.expect(outcome, "MMQ_ECLOSED", "passing")
        self.assertLess(outcome["seconds"], 1.5)

    def test_hostile_answers(self):
        token, keys = "/latest/api/token", instance.ROLES + "a-role%2Bx"
        cases = [(token, (200, b"")), (token, (200, b"a\r\nb")), (token, (200, b"x" * 600)),
                 (token, (200, b"\xff")), (token, (200, b"x" * (1 << 20))), (token, (301, b"")),
                 (instance.ROLES, (404, b"")), (instance.ROLES, (200, b"")), (instance.ROLES, (200, b"../../x y")),
                 (keys, (200, b"")), (keys, (200, b"{" * 10000)), (keys, (200, b"[]")), (keys, (500, b"{}")),
                 (keys, (200, self.service.keys(Code="Failed"))),
                 (keys, (200, self.service.keys(Token="canary\r\nX: y"))),
                 (keys, (200, self.service.keys(Token="c" * 9000))),
                 (keys, (200, self.service.keys(SecretAccessKey=""))),
                 (keys, (200, self.service.keys(Expiration="soon"))),
                 (keys, (200, self.service.keys()[:-1]))]
        for path, given in cases:
            self.service.answers = {path: given}
            with self.subTest(path=path, given=given[1][:40]):
                self.expect_none(self.deliver(), ".")

    def test_proxies_are_not_asked(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.2)
            proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
            self.expect(self.deliver(http_proxy=proxy, all_proxy=proxy), "MMQ_OK")
            self.assertRaises(TimeoutError, trap.accept)

    def test_expired_keys_are_asked_for_again(self):
        process = delivery.start(self.small, self.store.endpoint, PUT_TIMES=2, PUT_READ=1, **self.settings)
        self.assertIn("MMQ_OK", process.stdout.readline())
        self.service.session = "canary-next-token"
        self.store.keys = {self.service.access: (self.service.secret, self.service.session)}
        process.stdin.write("10\n")
        self.expect(delivery.finish(process)[0], "MMQ_OK")
        self.assertEqual(len(self.service.requests), 6)


if __name__ == "__main__":
    unittest.main()
