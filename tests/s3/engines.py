"""Real object stores for tests: Ceph's radosgw and OpenStack Swift's s3api, on loopback, thrown away after use.

    with engines.radosgw() as engine:          # or engines.swift(); memory only, unless store="bluestore"
        client = engine.client()               # curl, with the right keys
        client.make_bucket("dumps")

Whether a store is ours to start: where its Debian package is not installed the test is skipped, and says so
on stderr; in CI (`CI` or `METRICMQ_ENGINES` is set: .ci/run and ops/test) it fails.
"""
import hashlib
import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import xml.etree.ElementTree

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {"radosgw": ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin"),
            "swift_s3": ("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server")}
READY_S = 240  # a few starts of the keeper
REGION = "us-east-1"
EMPTY = hashlib.sha256().hexdigest()  # the body of a GET


def missing(kind):
    return [program for program in (*PROGRAMS[kind], "curl", "setpriv") if not shutil.which(program)]


def require(kind):
    """Skips or fails the test if the store cannot be started here."""
    lacking = missing(kind)
    if not lacking:
        return
    text = f"no {kind}: {', '.join(lacking)} not installed (engine_packages of ops/packages.sh)"
    if os.environ.get("CI") or os.environ.get("METRICMQ_ENGINES"):
        raise AssertionError(text)
    print(f"SKIPPED, NOT TESTED: {text}", file=sys.stderr, flush=True)
    raise unittest.SkipTest(text)


class Answer:
    """One HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The error's code, "" without one."""
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found.group(1).decode() if found else ""

    def texts(self, *path):
        """The texts of all elements at the end of the path, whatever their namespace."""
        root = xml.etree.ElementTree.fromstring(self.body)
        return [element.text or "" for element in root.findall("/".join(f"{{*}}{name}" for name in path))]


class Unexpected(AssertionError):
    """The store answered something else than what was wanted."""


class Client:
    """An S3 client of others' making: curl, which signs by itself."""

    def __init__(self, endpoint, access_key, secret_key, token=None, ca=None, region=REGION):
        self.endpoint, self.access_key, self.secret_key = endpoint, access_key, secret_key
        self.token, self.ca, self.region = token, ca, region

    def request(self, method, path, query="", body=b"", service="s3", headers=()):
        """One signed request, whatever comes of it. `path` is encoded here; `query` is given sorted and encoded."""
        url = self.endpoint + urllib.parse.quote(path) + (f"?{query}" if query else "")
        with tempfile.TemporaryDirectory(prefix="metricmq-curl-") as folder:
            folder = pathlib.Path(folder)
            (folder / "body").write_bytes(body)
            (folder / "netrc").write_text(f"default login {self.access_key} password {self.secret_key}\n")
            wanted = [*headers, f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}"]
            wanted += [f"x-amz-security-token: {self.token}"] * bool(self.token)
            arguments = ["curl", "--silent", "--show-error", "--max-time", "120", "--aws-sigv4",
                         f"aws:amz:{self.region}:{service}", "--netrc-file", folder / "netrc",
                         "--dump-header", folder / "head", "--output", folder / "answer", "--path-as-is",
                         "--noproxy", "*"]
            arguments += ["--head"] if method == "HEAD" else ["--request", method]
            arguments += ["--data-binary", f"@{folder}/body"] if method == "POST" else []
            arguments += ["--upload-file", folder / "body"] if method == "PUT" else []
            arguments += ["--cacert", self.ca] if self.ca else []
            for header in wanted:
                arguments += ["--header", header]
            done = subprocess.run([*map(str, arguments), url], capture_output=True, text=True)
            if done.returncode != 0:
                raise Unexpected(f"curl {method} {url}: exit {done.returncode}, {done.stderr}")
            return self._answer(folder, method)

    @staticmethod
    def _answer(folder, method):
        heads = (folder / "head").read_bytes().decode("latin-1").strip().split("\r\n\r\n")
        first, *lines = heads[-1].split("\r\n")  # the last: before it may be a 100 Continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = (folder / "answer").read_bytes() if method != "HEAD" and (folder / "answer").exists() else b""
        return Answer(int(first.split()[1]), headers, body)

    def call(self, method, path, **options):
        """As request, but anything else than 2xx raises."""
        answer = self.request(method, path, **options)
        if not 200 <= answer.status < 300:
            raise Unexpected(f"{method} {path}: {answer.status} {answer.code} {answer.body[:500]}")
        return answer

    def make_bucket(self, bucket):
        self.call("PUT", f"/{bucket}")
        return bucket

    def keys(self, bucket):
        """All keys of a bucket, sorted."""
        found, after = [], ""
        while True:
            query = f"marker={urllib.parse.quote(after, safe='')}&max-keys=1000"
            page = self.call("GET", f"/{bucket}", query=query).texts("Contents", "Key")
            if not page:
                return found
            found, after = found + page, page[-1]

    def get(self, bucket, key):
        return self.call("GET", f"/{bucket}/{key}")

    def head(self, bucket, key):
        return self.call("HEAD", f"/{bucket}/{key}")

    def get_all(self, bucket, keys):
        """{key: bytes} of many objects, over a few connections."""
        if not keys:
            return {}
        with tempfile.TemporaryDirectory(prefix="metricmq-curl-") as folder:
            folder = pathlib.Path(folder)
            (folder / "netrc").write_text(f"default login {self.access_key} password {self.secret_key}\n")
            lines = ["silent", "show-error", "fail", "fail-early", "parallel", "parallel-max = 40",
                     f'aws-sigv4 = "aws:amz:{self.region}:s3"', f'netrc-file = "{folder}/netrc"',
                     f'header = "x-amz-content-sha256: {EMPTY}"', 'noproxy = "*"']
            for number, key in enumerate(keys):
                url = self.endpoint + urllib.parse.quote(f"/{bucket}/{key}")
                lines += [f'url = "{url}"', f'output = "{folder}/{number}"']
            done = subprocess.run(["curl", "--config", "-"], input="\n".join(lines), capture_output=True, text=True)
            if done.returncode != 0:
                raise Unexpected(f"curl: exit {done.returncode}, {done.stderr}")
            return {key: (folder / str(number)).read_bytes() if (folder / str(number)).exists() else b""
                    for number, key in enumerate(keys)}

    def uploads(self, bucket):
        """[(key, id)] of multipart uploads that are neither complete nor aborted."""
        answer = self.call("GET", f"/{bucket}", query="uploads=")
        return list(zip(answer.texts("Upload", "Key"), answer.texts("Upload", "UploadId")))

    def begin_upload(self, bucket, key):
        """A multipart upload with one part, left as a crash leaves it."""
        id, = self.call("POST", f"/{bucket}/{key}", query="uploads=").texts("UploadId")
        query = f"partNumber=1&uploadId={urllib.parse.quote(id, safe='')}"
        self.call("PUT", f"/{bucket}/{key}", query=query, body=b"part")
        return id

    def empty(self, bucket):
        for key in self.keys(bucket):
            self.call("DELETE", f"/{bucket}/{key}")

    def assume_role(self, role):
        """(access key, secret key, session token) of a session."""
        body = urllib.parse.urlencode({"Action": "AssumeRole", "RoleArn": role, "RoleSessionName": "tests",
                                       "Version": "2011-06-15"}).encode()
        answer = self.call("POST", "/", body=body, service="sts")
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return tuple(answer.texts("AssumeRoleResult", "Credentials", name)[0] for name in names)


class Engine:
    """A store that answers. `told`: the addresses and keys that its keeper told."""

    def __init__(self, kind, told, keeper=None):
        self.kind, self.told, self.keeper = kind, told, keeper
        self.endpoint, self.named, self.tls = told["endpoint"], told["named"], told["tls"]
        self.access_key, self.secret_key, self.role = told["access_key"], told["secret_key"], told["role"]

    def client(self, **changed):
        """curl, with the right keys but for what is changed."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        return Client(**{"endpoint": self.endpoint, **keys, **changed})

    def environment(self, **changed):
        """What metricmq, or any S3 client, finds the keys in."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, **changed}

    def check(self):
        """A store that takes a wrong secret, or none, proves nothing."""
        self.client().call("GET", "/")
        for changed in ({"secret_key": "wrong" + self.secret_key}, {"access_key": "nobody" + self.access_key}):
            answer = self.client(**changed).request("GET", "/")
            if answer.status != 403:
                raise Unexpected(f"{self.kind} takes {list(changed)[0]}: {answer.status}")
        return self

    def stop(self):
        if self.keeper is None:
            return
        self.keeper.stdin.close()
        try:
            self.keeper.wait(60)
        finally:
            self.keeper.kill()
            self.keeper.wait()
            self.keeper.stdout.close()
        if self.keeper.returncode != 0:
            raise AssertionError(f"{self.kind}: its keeper ended with {self.keeper.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def start(kind, prefix=(), **options):
    """Starts a store, or skips the test. prefix: of the command, where it is to run elsewhere."""
    require(kind)
    keeper = subprocess.Popen([*prefix, "/usr/bin/python3", HERE / "keep.py", kind, json.dumps(options)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, start_new_session=True, cwd="/")
    line, end = b"", time.monotonic() + READY_S
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        is_there = left > 0 and select.select([keeper.stdout], [], [], left)[0]
        part = os.read(keeper.stdout.fileno(), 65536) if is_there else b""
        if not part:
            keeper.stdin.close()
            keeper.wait()
            raise AssertionError(f"{kind} did not start (its reasons are on stderr)")
        line += part
    engine = Engine(kind, json.loads(line), keeper)
    try:
        return engine.check()
    except BaseException:
        engine.stop()
        raise


def share(kinds):
    """Starts stores for processes that are started from here, which find them with `shared`; they are to be stopped."""
    started = []
    for kind in kinds:
        started.append(start(kind))
        os.environ[f"METRICMQ_ENGINE_{kind}"] = json.dumps(started[-1].told)
    return started


def shared(kind):
    """The store that `share` has started, or else one of our own. Its stop() leaves the former alone."""
    told = os.environ.get(f"METRICMQ_ENGINE_{kind}")
    return Engine(kind, json.loads(told)) if told else start(kind)


def radosgw(**options):
    """store: "memstore" or "bluestore" (for much data); tls: (certificate, key); sts: True for sessions; address: where
    it listens (loopback); again: daemons that died are started again (with "bluestore"); prefix: of the command."""
    return start("radosgw", **options)


def swift():
    return start("swift_s3")
