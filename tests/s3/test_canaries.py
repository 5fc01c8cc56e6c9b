"""F74, F63: secrets that no text of ours may hold, wherever they came from and whatever went wrong with them.

Each secret is a canary, a word that is nowhere else: keys of the HTTP adapter and of the object store in environment,
configuration and credentials file, a TLS key, what clients send where secrets stand. `up` works with them at
log level debug, through answers good and bad; then all that it wrote is looked through, as it is and decoded.
"""
import base64
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import socket
import ssl
import zlib

import fault_store
import harness
from authority import Authority

NONE_GIVEN = {name: "" for name in os.environ if name.startswith("AWS_")}


def forms(canary):
    """As it is, and as base64 has it, wherever it stands."""
    text = canary.encode()
    yield text
    for before in range(3):
        coded = base64.b64encode(b"x" * before + text)
        yield coded[4 if before else 0:-4]  # what the neighbours do not change


def echo(peer, request):
    """As stores do: the refusal repeats what was sent."""
    peer.read_body(request)
    sent = " ".join(f"{name}:{value}" for name, value in request.headers.items())
    return fault_store.error(403, "SignatureDoesNotMatch", extra=f"<StringToSign>{sent}</StringToSign>")


def unpacked(data):
    """The bytes, and those of all gzip members that they are."""
    if data[:2] == b"\x1f\x8b":
        with contextlib.suppress(OSError, EOFError, zlib.error):
            return data + gzip.decompress(data)
    return data


class Canaries(harness.Case):
    def setUp(self):
        super().setUp()
        self.random = harness.seed()
        self.canaries, self.texts = {}, {}
        authority = Authority(self.folder, "authority")
        authority.context("adapter", "IP:127.0.0.1")
        self.tls = ("--tls-cert", self.folder / "adapter.pem", "--tls-key", self.folder / "adapter.key")
        self.canaries["TLS key"] = (self.folder / "adapter.key").read_text().splitlines()[1]
        self.context = ssl.create_default_context(cafile=authority.certificate)
        self.store = fault_store.Store(bucket="dumps")
        self.addCleanup(self.store.stop)
        self.data = self.folder / "data"

    def canary(self, what):
        return self.canaries.setdefault(what, f"Canary{self.random.getrandbits(96):024x}")

    # ---- what is done

    def up(self, *options, **environment):
        program = harness.up(
            self.data, "--log-level", "debug", *self.tls, "--upload", "s3://dumps", "--s3-endpoint", self.store.endpoint,
            "--s3-region", "us-east-1", "--s3-path-style", *options,
            env={**NONE_GIVEN, "AWS_EC2_METADATA_DISABLED": "true", **environment})
        self.addCleanup(program.__exit__, None, None, None)
        return program

    def request(self, name, program, path, method="GET", key=None, body=None, headers=None):
        """An answer's status; the answer is kept as a text of ours."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        host = program.ready["http"].removeprefix("https://")
        connection = http.client.HTTPSConnection(host, context=self.context, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            self.texts[f"{name}: answer to {method} {path[:40]} #{len(self.texts)}"] = (
                str(answer.getheaders()).encode() + answer.read())
            return answer.status

    def load(self, program):
        rows = self.folder / "rows.csv"
        rows.write_text("timestamp,value\n" + "".join(f"{1400000000 + n},{n}\n" for n in range(300)))
        return harness.run("import", "--connect", program.ready["clients"], rows).out.split()[0]

    def send_secrets(self, name, program, key, uid):
        """Requests that bear secrets where they stand, and where they should not."""
        ask = lambda *arguments, **options: self.request(name, program, *arguments, **options)
        wrong, query, cookie, bearer = (self.canary(what) for what in ("wrong key", "query", "cookie", "bearer"))
        self.assertEqual(ask(f"/_models/{uid}/data?anomaly=-1", key=key), 200)
        refused = (401, 429)  # 429: for the number of refusals
        self.assertIn(ask("/_models", key=wrong), refused)
        self.assertIn(ask("/_models", headers={"Authorization": f"Bearer {bearer}"}), refused)
        self.assertIn(ask("/_models", headers={"Authorization": wrong + "x" * 2000}), refused)
        self.assertEqual(ask("/_models", key=key, headers={"Cookie": f"session={cookie}"}), 200)
        self.assertIn(ask(f"/_models/data?api_key={query}", key=key), (200, 400))
        self.assertEqual(ask(f"/_models/{uid}/data?from={query}", key=key), 400)
        secret = self.canary("body")
        for body, status in ((f'{{"uid": "{uid}", "password": "{secret}"', 400), (f'["{secret}"]', 400),
                             (json.dumps({"uid": 7, "password": secret}), 400),
                             (json.dumps({"uid": "nobody", "password": secret, secret: 1}), 404),
                             (json.dumps({"uid": uid, "password": secret + "x" * (2 << 20)}), 413)):
            self.assertEqual(ask("/_logging/feedback", "POST", key=key, body=body), status)
        self.assertEqual(ask("/_models", "POST", key=key, body=json.dumps({"datasource": "custom", "metric": "m",
                                                                           "password": secret})), 400)
        self.assertEqual(ask("/metrics", key=key), 200)
        self.assertEqual(ask("/health/ready"), 200)

    def dump(self, name, program, key, uid, number):
        return self.request(name, program, "/_logging/feedback", "POST", key=key, body=json.dumps(
            {"uid": uid, "number": number, "password": self.canary("body"), self.canary("body's name"): 1}))

    def collect(self, name, program):
        """What there is to read of the program, before and after its end."""
        self.texts[f"{name}: status"] = harness.run("status", "--connect", program.ready["clients"], "--format",
                                                    "json").stdout
        self.texts[f"{name}: spool"] = harness.run("spool", "list", "--data", self.data).stdout
        for file in ("cmdline", "comm"):
            self.texts[f"{name}: {file}"] = pathlib.Path(f"/proc/{program.process.pid}/{file}").read_bytes()
        self.texts[f"{name}: ready line"] = program.line.encode()
        program.stop()
        self.texts[f"{name}: log"] = program.errors().encode()

    # ---- what is looked for

    def seek(self):
        files = [path for path in self.data.rglob("*") if path.is_file()]
        texts = {**self.texts, **{str(path): unpacked(path.read_bytes()) for path in files},
                 **{f"object {key}": unpacked(data) for key, data in self.store.objects.items()}}
        for what, canary in self.canaries.items():
            for name, text in texts.items():
                if what.startswith("body") and (name.startswith("object ") or name.endswith(".tar.gz")):
                    continue  # a dump holds what was sent with it
                for form in forms(canary):
                    self.assertNotIn(form, text, f"the {what} is in: {name}")
        print(f"{len(self.canaries)} canaries, {len(texts)} texts, {sum(map(len, texts.values()))} bytes", flush=True)
        return texts

    def test_secrets_in_the_environment(self):
        key, secret, token = (self.canary(what) for what in ("API key", "AWS secret", "AWS session token"))
        access = self.canary("AWS access key")
        self.store.keys = {access: (secret, token)}
        program = self.up(METRICMQ_API_KEY=key, AWS_ACCESS_KEY_ID=access, AWS_SECRET_ACCESS_KEY=secret,
                          AWS_SESSION_TOKEN=token)
        uid = self.load(program)
        self.send_secrets("environment", program, key, uid)
        self.store.fault("put", echo, times=1)
        self.assertEqual(self.dump("environment", program, key, uid, 1), 202)
        elsewhere = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(elsewhere.close)
        for number, status in enumerate((301, 307), 2):
            self.store.fault("put", fault_store.answer(status, "Moved", {
                "Location": f"http://127.0.0.1:{elsewhere.getsockname()[1]}/dumps/x"}), times=1)
            self.assertEqual(self.dump("environment", program, key, uid, number), 202)
        self.store.fault("put", fault_store.reset(10), times=3)
        self.assertEqual(self.dump("environment", program, key, uid, 4), 202)
        self.assertEqual(self.dump("environment", program, key, uid, 5), 200)
        self.collect("environment", program)
        elsewhere.settimeout(0)
        with self.assertRaises(BlockingIOError, msg="a redirect was followed"):
            elsewhere.accept()
        texts = self.seek()
        self.assertIn(uid.encode(), texts["environment: log"])  # texts are what they are taken for
        self.assertTrue(any(self.canary("body").encode() in text for name, text in texts.items()
                            if name.startswith("object ")))
        self.assertTrue(any(path.endswith(".tar.gz") for path in texts if path.startswith(str(self.data))))

    def test_secrets_in_files(self):
        key, secret, token = (self.canary(what) for what in ("API key", "AWS secret", "AWS session token"))
        self.store.keys = {fault_store.ACCESS: (secret, token)}
        configuration, credentials = self.folder / "metricmq.cfg", self.folder / "credentials"
        configuration.write_text(f'api-key = "{key}"\nlog-format = "json"\n')
        credentials.write_text(
            f"[default]\naws_access_key_id = {fault_store.ACCESS}\naws_secret_access_key = {self.canary('wrong secret')}\n"
            f"[right]\naws_access_key_id = {fault_store.ACCESS}\naws_secret_access_key = {secret}\n"
            f"aws_session_token = {token}\n[broken]\naws_secret_access_key = {secret}\n"
            f"aws_access_key_id {self.canary('torn line')}\n")
        for number, (profile, status) in enumerate((("default", 202), ("broken", 202), ("right", 200))):
            program = self.up("--config", configuration, AWS_SHARED_CREDENTIALS_FILE=str(credentials),
                              AWS_PROFILE=profile)
            uid = self.load(program)
            self.send_secrets(profile, program, key, uid)
            self.assertEqual(self.dump(profile, program, key, uid, number), status)
            self.collect(profile, program)
        self.seek()

    def test_refusals_to_start(self):
        """What is wrong with a configuration is said without what it holds."""
        key, secret = self.canary("API key"), self.canary("AWS secret")
        configuration = self.folder / "metricmq.cfg"
        for number, text in enumerate((f'api-key = "{key}"\nno-such-option = 1\n', f'api-key = "{key}\n',
                                       f'api-key\n    "{key}"\n', f'api-key = "{key * 400}"\n', f"{key}\n")):
            configuration.write_text(text)
            done = harness.run("up", "--config", configuration, "--data", self.data, check=False,
                               env={"METRICMQ_HTTP": "nowhere"})
            self.assertNotEqual(done.returncode, 0)
            self.texts[f"configuration {number}"] = done.stdout + done.stderr
        environment = {"METRICMQ_API_KEY": key, "AWS_SECRET_ACCESS_KEY": secret, "METRICMQ_HTTP": "nowhere"}
        for arguments in (["up", "--data", self.data, "--upload", "s3://dumps", "--s3-endpoint", self.store.endpoint],
                          ["up", "--help"], ["http"], ["worker", "feedback", "--data", self.data, "--spool-max", "x"]):
            done = harness.run(*arguments, check=False, env=environment)
            self.texts[" ".join(map(str, arguments))] = done.stdout + done.stderr
        done = harness.run("up", "--api-key", self.canary("argument"), check=False)
        self.assertEqual(done.returncode, 2)
        self.texts["a secret as a flag"] = done.stdout + done.stderr
        self.data.mkdir(exist_ok=True)
        self.seek()


if __name__ == "__main__":
    harness.main()
