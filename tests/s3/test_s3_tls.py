"""F66: a certificate that has expired, that nobody vouches for or that is another host's is refused before anything
is sent, and the sentence says so. F63: nor is there a way back to http."""
import socket
import unittest

import authority
import delivery
import fault_store
from fault_store import answer, reset


class Tls(delivery.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good, cls.other = authority.Authority(cls.at, "good"), authority.Authority(cls.at, "other")

    def serve(self, subject="IP:127.0.0.1", days=10, by=None):
        context = (by or self.good).context("store", subject, days)
        store = fault_store.Store(context=context)
        self.addCleanup(store.stop)
        return store

    def put_to(self, store, path=None, **more):
        return delivery.put(path or self.small, store.endpoint, **{"S3_CA_FILE": self.good.certificate, **more})

    def expect_refused(self, store, why, **more):
        for path in (self.small, self.large):
            outcome = self.put_to(store, path, **more)
            self.expect(outcome, "MMQ_EDENIED", "settings", f"certificate.*not trusted.*{why}.*--s3-ca-file")
            self.assertEqual(store.requests, [])

    def test_trusted(self):
        store = self.serve()
        self.expect(self.put_to(store), "MMQ_OK")
        self.expect(self.put_to(store, self.large), "MMQ_OK")
        self.assertEqual(store.objects["key.tar.gz"], self.large.read_bytes())
        self.expect(self.put_to(store, S3_CA_FILE=None, AWS_CA_BUNDLE=self.good.certificate), "MMQ_OK")

    def test_reset(self):
        """F61: of a connection with TLS, too."""
        store = self.serve()
        for after in (0, 1 << 20):
            store.fault("part", reset(after))
        store.fault("put", reset(1))
        self.expect(self.put_to(store, self.large), "MMQ_OK")
        self.assertEqual(store.objects["key.tar.gz"], self.large.read_bytes())
        self.expect(self.put_to(store), "MMQ_EUNAVAILABLE", "passing")

    def test_self_signed(self):
        self.expect_refused(self.serve(by=self.other), "local issuer|self.signed")
        self.expect_refused(self.serve(), "local issuer|self.signed", S3_CA_FILE=None)

    def test_expired(self):
        self.expect_refused(self.serve(days=-1), "expired")

    def test_other_host(self):
        self.expect_refused(self.serve("DNS:example.com"), "127.0.0.1")

    def test_no_tls(self):
        store = fault_store.Store()
        self.addCleanup(store.stop)
        outcome = delivery.put(self.small, f"https://127.0.0.1:{store.port}")
        self.expect(outcome, "MMQ_EUNAVAILABLE", "passing", "cannot be reached")
        self.assertEqual(store.requests, [])

    def test_downgrade(self):
        store = self.serve()
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(0.2)
            there = f"http://127.0.0.1:{trap.getsockname()[1]}/bucket/key.tar.gz"
            for status in (301, 302, 307, 308):
                store.fault("put", answer(status, None, {"Location": there}, read=False))
                self.expect(self.put_to(store), "MMQ_EDENIED", "settings", str(status))
            self.assertRaises(TimeoutError, trap.accept)

    def test_authorities_that_cannot_be_read(self):
        process = delivery.start(self.small, "https://127.0.0.1", S3_CA_FILE=self.at / "none")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 2)
        self.assertIn("authorities", err)

    def test_authorities_that_are_none(self):
        store = self.serve()
        self.expect_refused(store, "", S3_CA_FILE=self.small)


if __name__ == "__main__":
    unittest.main()
