"""The s3:// target against a store that misbehaves: F59 to F65. Each put ends in a class and a sentence, the
watch is asked all the while, and nothing half is left behind or seen."""
import email.utils
import socket
import time
import unittest

import delivery
from delivery import MIB
from fault_store import (Reply, answer, changed, error, flood_body, flood_headers, lost, reset, silent, stall,
                         then_dead, trickle)


class Busy(delivery.TestCase):
    """F59."""

    def test_500(self):
        self.store.fault("put", answer(500, "InternalError"))
        self.expect(self.put(self.small), "MMQ_EUNAVAILABLE", "passing", "500 InternalError")
        self.expect_nothing()
        self.assertEqual(self.store.count("put"), 1)
        self.expect(self.put(self.small), "MMQ_OK")
        self.expect_object(self.small)

    def test_retry_after(self):
        later = email.utils.formatdate(time.time() + 30, usegmt=True)
        for status, header, least, most in ((503, "7", 7, 7), (429, later, 20, 31), (503, "86400", 300, 300),
                                            (503, "soon", 0, 0)):
            self.store.fault("put", answer(status, "SlowDown", {"Retry-After": header}, read=False))
            outcome = self.put(self.small)
            self.expect(outcome, "MMQ_EUNAVAILABLE", "passing", f"{status} SlowDown")
            self.assertTrue(least <= outcome["wait_s"] <= most, outcome)

    def test_429_without_a_code(self):
        self.store.fault("put", answer(429))
        self.expect(self.put(self.small), "MMQ_EUNAVAILABLE", "passing", "429")

    def test_parts_are_tried_again(self):
        self.store.fault("part", answer(503, "SlowDown", read=False), times=2)
        self.store.fault("part", answer(500, "InternalError"), times=2)
        self.store.fault("complete", answer(503, "SlowDown"), times=2)
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)

    def test_parts_are_given_up(self):
        self.store.fault("part", answer(503, "SlowDown", read=False), times=None)
        self.expect(self.put(self.large), "MMQ_EUNAVAILABLE", "passing", "503 SlowDown")
        self.assertLessEqual(self.store.count("part"), 4 * 3)
        self.expect_nothing()

    def test_part_that_has_to_wait_for_long_ends_the_put(self):
        self.store.fault("part", answer(503, "SlowDown", {"Retry-After": "60"}, read=False), times=None)
        outcome = self.put(self.large)
        self.expect(outcome, "MMQ_EUNAVAILABLE", "passing")
        self.assertEqual(outcome["wait_s"], 60)
        self.assertLess(outcome["seconds"], 30)
        self.expect_nothing()


class Network(delivery.TestCase):
    def expect_stall(self, path, act, operation, times=1):
        self.store.fault(operation, act, times)
        outcome = self.put(path, S3_STALL_MS=600)
        self.expect(outcome, "MMQ_ETIMEOUT", "passing", "stalled")
        self.assertGreaterEqual(outcome["seconds"], 0.6)
        self.assertLess(outcome["seconds"], 20)
        self.expect_nothing()

    def test_f60_stall_in_the_body(self):
        self.expect_stall(self.large, stall(MIB), "part", None)
        self.assertLessEqual(self.store.count("part"), 4 * 3)

    def test_f60_stall_at_once(self):
        self.expect_stall(self.small, stall(0), "put")

    def test_f60_no_first_byte(self):
        self.expect_stall(self.small, silent, "put")

    def test_f60_trickle(self):
        self.expect_stall(self.small, trickle, "put")

    def test_f60_nobody_accepts(self):
        """The queue of a listener is full: connections are neither taken nor refused."""
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            outcome = delivery.put(self.small, f"http://127.0.0.1:{port}", S3_STALL_MS=600)
            self.expect(outcome, "MMQ_ETIMEOUT", "passing", "stalled")
            for one in waiting:
                one.close()

    def test_f60_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        outcome = delivery.put(self.small, f"http://127.0.0.1:{port}")
        self.expect(outcome, "MMQ_EUNAVAILABLE", "passing", "cannot be reached")

    def test_f60_no_such_name(self):
        outcome = delivery.put(self.small, "https://no-such-host.invalid")
        self.expect(outcome, "MMQ_EUNAVAILABLE", "passing", "cannot be reached")

    def test_f60_name_server_that_hangs(self):
        """Who gives up does not wait for the answer."""
        for more, result in (({"S3_STALL_MS": 600}, "MMQ_ETIMEOUT"), ({"PUT_STOP_MS": 600}, "MMQ_ECLOSED")):
            outcome = delivery.put(self.small, "https://store.example", PUT_NAMES_MS=30000, **more)
            self.expect(outcome, result, "passing")
            self.assertLess(outcome["seconds"], 10)

    def test_f60_stalled_part_is_tried_again(self):
        self.store.fault("part", stall(MIB))
        self.store.fault("part", silent)
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)

    def test_f61_reset(self):
        for act in (reset(0), reset(1), reset(50000), reset(100000)):
            self.store.fault("put", act)
            self.expect(self.put(self.small), "MMQ_EUNAVAILABLE", "passing", "cannot be reached")
            self.expect_nothing()
        self.expect(self.put(self.small), "MMQ_OK")

    def test_f61_reset_in_a_part(self):
        for after in (0, 1, MIB, 8 * MIB):
            self.store.fault("part", reset(after))
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)
        self.assertEqual(self.store.count("create"), 1)  # under the same upload

    def test_dead_connection_is_replaced(self):
        for operation in ("put", "list", "create", "part", "complete"):
            self.store.fault(operation, then_dead, times=2)
        outcomes = delivery.finish(delivery.start(self.small, self.store.endpoint, PUT_TIMES=4))
        self.assertEqual([outcome["result"] for outcome in outcomes], ["MMQ_OK"] * 4)
        self.store.objects.clear()
        for outcome in delivery.finish(delivery.start(self.large, self.store.endpoint, PUT_TIMES=2)):
            self.expect(outcome, "MMQ_OK")
        self.expect_object(self.large)

    def test_floods(self):
        for act in (flood_headers, flood_body):
            self.store.fault("put", act)
            outcome = self.put(self.small)
            self.expect(outcome, "MMQ_EPROTO", "passing", "too long")
            self.assertLess(outcome["peak_kb"], 400_000 if delivery.SLOW else 40_000)

    def test_no_http(self):
        for data in (b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK", b"HTTP/9.9 999 ?\r\n\r\n"):
            def act(peer, request, data=data):
                peer.read_body(request)
                peer.send(data)
            self.store.fault("put", act)
            self.expect(self.put(self.small), "MMQ_EUNAVAILABLE", "passing", "cannot be reached")


class Rights(delivery.TestCase):
    """F62."""

    def setUp(self):
        super().setUp()
        self.shared = self.at / "credentials"
        self.by_file = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None,
                        "AWS_SHARED_CREDENTIALS_FILE": self.shared}

    def share(self, access, secret, token=""):
        self.shared.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
                               + (f"aws_session_token = {token}\n" if token else ""))

    def test_refused(self):
        for more, why in (({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
                          ({"AWS_SECRET_ACCESS_KEY": "canary-other"}, "SignatureDoesNotMatch"),
                          ({"AWS_SESSION_TOKEN": "canary-token"}, "ExpiredToken")):
            for path in (self.small, self.large):
                before = len(self.store.requests)
                self.expect(self.put(path, **more), "MMQ_EDENIED", "settings", why)
                self.assertLessEqual(len(self.store.requests) - before, 2)
                self.assertLessEqual(max(request.sent for request in self.store.requests), 0)
        self.expect_nothing()

    def test_access_denied(self):
        self.store.fault("put", answer(403, "AccessDenied", read=False))
        self.expect(self.put(self.small), "MMQ_EDENIED", "settings", "403 AccessDenied: .*right")

    def test_no_credentials(self):
        outcome = self.put(self.small, **{**self.by_file, "AWS_SHARED_CREDENTIALS_FILE": self.at / "none"})
        self.expect(outcome, "MMQ_EDENIED", "settings", "no credentials: set AWS_ACCESS_KEY_ID")
        self.assertEqual(self.store.requests, [])

    def test_keys_are_read_again(self):
        """The token expires between two puts; the file has a new one."""
        self.share("A", "S", "canary-one")
        self.store.keys = {"A": ("S", "canary-one")}
        process = delivery.start(self.small, self.store.endpoint, PUT_TIMES=3, PUT_READ=1, **self.by_file)
        first = process.stdout.readline()
        self.assertIn("MMQ_OK", first)
        self.share("A", "S", "canary-two")
        self.store.keys = {"A": ("S", "canary-two")}
        process.stdin.write("10\n")  # seconds later
        process.stdin.flush()
        self.assertIn("MMQ_OK", process.stdout.readline())
        process.stdin.write("10\n")
        process.stdin.flush()
        self.expect(delivery.finish(process)[0], "MMQ_OK")
        self.assertEqual(self.store.count("put"), 4)

    def test_keys_are_read_again_between_parts(self):
        """The token expires in the middle of a put."""
        self.share("A", "S", "canary-one")
        self.store.keys = {"A": ("S", "canary-one")}

        def expire(peer, request):
            self.share("B", "T", "canary-two")
            self.store.keys = {"B": ("T", "canary-two")}
            return answer(400, "ExpiredToken", read=False)(peer, request)
        self.store.fault("part", expire)
        self.expect(self.put(self.large, **self.by_file), "MMQ_OK")
        self.expect_object(self.large)

    def test_clock(self):
        """Told once, a put knows the store's clock: what a busy machine asks again is no second refusal."""
        for offset in (3 * 3600, -3 * 3600):
            self.store.clock_offset = offset
            for path in (self.small, self.large):
                before = self.store.skewed
                self.expect(self.put(path), "MMQ_OK")
                self.expect_object(path)
                self.assertEqual(self.store.skewed - before, 1)

    def test_clock_is_learnt_once(self):
        self.store.clock_offset = 7200
        for outcome in delivery.finish(delivery.start(self.small, self.store.endpoint, PUT_TIMES=4)):
            self.expect(outcome, "MMQ_OK")
        self.assertEqual(self.store.count("put"), 5)

    def test_clock_that_never_suits(self):
        self.store.fault("put", answer(403, "RequestTimeTooSkewed"), times=None)
        self.expect(self.put(self.small), "MMQ_EDENIED", "settings", "our clock is .* its own")
        self.assertEqual(self.store.count("put"), 2)


class Elsewhere(delivery.TestCase):
    """F63."""

    def test_redirects_are_not_followed(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.2)
            there = f"http://127.0.0.1:{trap.getsockname()[1]}/bucket/key.tar.gz"
            for status, code in ((301, "PermanentRedirect"), (302, None), (307, "TemporaryRedirect"), (308, None)):
                for operation, path in (("put", self.small), ("create", self.large)):
                    self.store.fault(operation, answer(status, code, {"Location": there}, read=False))
                    self.expect(self.put(path), "MMQ_EDENIED", "settings", f"{status}.*(--s3-endpoint|--s3-region)")
            self.assertRaises(TimeoutError, trap.accept)
        self.expect_nothing()

    def test_region_is_told(self):
        self.store.region = "eu-central-1"
        self.expect(self.put(self.small), "MMQ_EDENIED", "settings", "region eu-central-1: set --s3-region")
        self.expect(self.put(self.small, S3_REGION="eu-central-1"), "MMQ_OK")
        self.store.fault("put", answer(301, headers={"x-amz-bucket-region": "ap-east-1"}))
        self.expect(self.put(self.small), "MMQ_EDENIED", "settings", "region ap-east-1: set --s3-region")

    def test_plain_http_is_for_this_machine(self):
        process = delivery.start(self.small, "http://192.0.2.1")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 2)
        self.assertIn("https://", err)

    def test_proxies_are_not_for_http(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.2)
            proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
            self.expect(self.put(self.small, http_proxy=proxy, ALL_PROXY=proxy), "MMQ_OK")
            self.assertRaises(TimeoutError, trap.accept)


class NoSuccess(delivery.TestCase):
    """F64."""

    def test_no_bucket(self):
        for path in (self.small, self.large):
            self.expect(self.put(path, url="s3://other-bucket"), "MMQ_ENOTFOUND", "settings",
                        "bucket \"other-bucket\" does not exist.*make it, or correct --upload")

    def test_no_store(self):
        for status in (400, 404, 405):
            self.store.fault("put", answer(status, body=b"<html>nginx</html>"))
            self.expect(self.put(self.small), "MMQ_EPROTO", "settings", "check the endpoint")

    def test_refused_for_good(self):
        self.store.fault("put", answer(400, "EntityTooLarge"))
        self.expect(self.put(self.small), "MMQ_EINVAL", "refused", "400 EntityTooLarge: for the test")

    def test_error_in_a_200(self):
        self.store.fault("complete", lambda peer, request: (peer.read_body(request),
                                                            error(200, "InternalError"))[1], times=2)
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)
        self.assertEqual(self.store.count("complete"), 3)
        self.store.objects.clear()
        self.store.fault("complete", lambda peer, request: (peer.read_body(request),
                                                            error(200, "InternalError"))[1], times=None)
        self.expect(self.put(self.large), "MMQ_EUNAVAILABLE", "passing", "InternalError")
        self.expect_nothing()

    def test_no_etag(self):
        def drop(reply):
            reply.headers.pop("ETag", None)
        for operation, path in (("put", self.small), ("part", self.large)):
            self.store.fault(operation, changed(drop))
            self.expect(self.put(path), "MMQ_EUNAVAILABLE", "passing", "no ETag")
        self.assertEqual(self.store.uploads, {})

    def test_other_etag(self):
        def change(reply):
            reply.headers["ETag"] = '"' + "0" * 32 + '"'
        for operation, path in (("put", self.small), ("part", self.large)):
            self.store.fault(operation, changed(change))
            self.expect(self.put(path), "MMQ_EUNAVAILABLE", "passing", "another ETag")
        self.assertEqual(self.store.uploads, {})

    def test_completion_without_an_etag(self):
        """As radosgw answers: the store is asked."""
        def empty(reply):
            reply.body = b"<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>"
        self.store.fault("complete", changed(empty))
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)
        self.assertEqual(self.store.count("head"), 1)

    def test_completion_that_is_no_good(self):
        def empty(reply):
            reply.body = b""
        def other(reply):
            reply.headers["ETag"] = '"' + "0" * 32 + '-9"'
        def short(reply):
            reply.headers["Content-Length"] = "7"
        def gone(reply):
            reply.status = 404
        for change in (other, short, gone):
            self.store.fault("complete", changed(empty))
            self.store.fault("head", changed(change))
            self.expect(self.put(self.large), "MMQ_EUNAVAILABLE", "passing", "not what was sent|does not have")

    def test_opaque_etags(self):
        """Of parts: sent back as they are, and then the object is compared by its metadata and size."""
        def opaque(reply):
            reply.headers["ETag"] = '"opaque:1"'

        def complete(peer, request):
            peer.read_body(request)
            assert request.body.count(b"&quot;opaque:1&quot;") == 9
            with self.store.lock:
                key, parts, headers = self.store.uploads.pop(request.query["uploadId"])
                self.store.keep(key, b"".join(parts[i] for i in sorted(parts)), "opaque:2", headers)
            return Reply(body=b"<CompleteMultipartUploadResult><ETag/></CompleteMultipartUploadResult>")
        self.store.fault("part", changed(opaque), times=9)
        self.store.fault("complete", complete)
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)

    def test_no_upload_id(self):
        for body in (b"", b"<UploadId></UploadId>", b"<UploadId>" + b"x" * 2000 + b"</UploadId>"):
            self.store.fault("create", answer(200, body=body))
            self.expect(self.put(self.large), "MMQ_EPROTO", "passing", "without telling its id")


class Lost(delivery.TestCase):
    """F65."""

    def test_answer_to_put(self):
        self.store.fault("put", lost)
        outcomes = delivery.finish(delivery.start(self.small, self.store.endpoint, PUT_TIMES=2))
        self.expect(outcomes[0], "MMQ_EUNAVAILABLE", "passing")
        self.expect(outcomes[1], "MMQ_OK")
        self.expect_object(self.small)

    def test_answer_to_complete(self):
        self.store.fault("complete", lost)
        self.expect(self.put(self.large), "MMQ_OK")
        self.expect_object(self.large)
        self.assertEqual((self.store.count("complete"), self.store.count("head")), (2, 1))

    def test_answer_to_part_and_create(self):
        self.store.fault("part", lost, times=2)
        self.expect(self.put(self.large), "MMQ_OK")
        # Over a connection that had been used before, libcurl has sent it anew by itself. What the lost answer
        # would have named is aborted by the next put of the key.
        self.store.fault("create", lost)
        for outcome in delivery.finish(delivery.start(self.large, self.store.endpoint, PUT_TIMES=2)):
            self.expect(outcome, "MMQ_OK")
        self.expect_object(self.large)

    def test_upload_that_is_gone(self):
        """Somebody aborted it, and the object is not there: all of it is to be sent again."""
        def abort(peer, request):
            peer.read_body(request)
            with self.store.lock:
                self.store.uploads.clear()
            return self.store.perform(request)
        self.store.fault("complete", abort)
        self.expect(self.put(self.large), "MMQ_EUNAVAILABLE", "passing", "does not have the object")
        self.store.fault("part", abort)
        self.expect(self.put(self.large), "MMQ_EUNAVAILABLE", "passing", "NoSuchUpload")
        self.expect(self.put(self.large), "MMQ_OK")


class Corrupt(delivery.TestCase):
    """What changed in the spool is never tried again, what changed on its way is."""

    def test_other_size(self):
        self.expect(self.put(self.small, PUT_SUMS_OF=self.large), "MMQ_ECORRUPT", "refused", "size")
        self.assertEqual(self.store.requests, [])

    def test_other_bytes(self):
        for path in (self.small, self.large):
            changed_file = self.at / "changed"
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            changed_file.write_bytes(data)
            self.expect(self.put(changed_file, PUT_SUMS_OF=path), "MMQ_ECORRUPT", "refused", "bytes changed")
            self.expect_nothing()

    def test_on_its_way(self):
        for code in ("XAmzContentSHA256Mismatch", "BadDigest"):
            for operation, path in (("put", self.small), ("part", self.large)):
                self.store.fault(operation, answer(400, code))
                self.expect(self.put(path), "MMQ_EUNAVAILABLE", "passing", code)
                self.expect_nothing()

    def test_cut_off_while_it_is_sent(self):
        victim = self.at / "victim"
        victim.write_bytes(self.large.read_bytes())

        def cut(peer, request):
            with victim.open("r+b") as file:
                file.truncate(3 * MIB)
            return answer(503, "SlowDown", read=False)(peer, request)
        self.store.fault("part", cut)
        self.expect(self.put(victim), "MMQ_ECORRUPT", "refused", "cut off")
        self.expect_nothing()


if __name__ == "__main__":
    unittest.main()
