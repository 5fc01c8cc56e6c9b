"""A store of S3 made for misbehaving, on plain sockets, a thread a connection.

Left alone it is a small but strict store: it verifies signatures (by its own reckoning of Signature Version 4),
payload digests, clocks and part lists, and keeps what it is sent. What it shall do wrong is scripted by operation:

    store.fault("part", answer(503, "SlowDown", {"Retry-After": "1"}), times=2)

Operations: put, create, part, complete, abort, list, head, any. A fault is a function of (peer, request); it
returns the reply to send, or None if it has dealt with the connection itself, which is then closed.
"""
import collections
import datetime
import email.utils
import hashlib
import hmac
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse
import xml.etree.ElementTree

ACCESS, SECRET = "testaccess", "canary-secret-0123456789"
PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
HEAD_MAX, SKEW_MAX_S = 64 * 1024, 15 * 60


class Gone(Exception):
    """The peer has closed the connection."""


class Request:
    def __init__(self, head, peer):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.headers = collections.defaultdict(str)
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        path, _, query = self.target.partition("?")
        self.raw_query = query
        self.path = urllib.parse.unquote(path, "latin-1")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.bucket, _, self.key = self.path[1:].partition("/")
        self.size = int(self.headers["content-length"] or 0)
        self.body, self.sent, self.peer, self.time = b"", 0, peer, time.monotonic()

    @property
    def operation(self):
        if "uploads" in self.query:
            return "list" if self.method == "GET" else "create"
        if "partNumber" in self.query:
            return "part"
        if "uploadId" in self.query:
            return "complete" if self.method == "POST" else "abort"
        return self.method.lower()


class Reply:
    def __init__(self, status=200, body=b"", headers=None):
        self.status, self.body, self.headers = status, body, dict(headers or {})


def error(status, code, message="for the test", extra="", headers=None):
    body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message>{extra}</Error>"
    return Reply(status, body.encode(), headers)


# ---- faults ---------------------------------------------------------------------------------


def answer(status, code=None, headers=None, body=b"", read=True, extra=""):
    """Answers so, after the body was read or (read=False) before, instead of asking for it."""
    def act(peer, request):
        if read:
            peer.read_body(request)
        reply = error(status, code, extra=extra) if code else Reply(status, body)
        reply.headers.update(headers or {})
        if not read and request.size:
            reply.headers["Connection"] = "close"
        return reply
    return act


def reset(after=0):
    """Takes so many bytes of the body, then resets the connection."""
    def act(peer, request):
        peer.read_body(request, after)
        peer.reset()
    return act


def stall(after=0):
    """Takes so many bytes of the body, then nothing more, until the client has enough of it."""
    def act(peer, request):
        peer.read_body(request, after)
        peer.wait_closed()
    return act


def silent(peer, request):
    """Takes the body and never answers."""
    peer.read_body(request)
    peer.wait_closed()


def trickle(peer, request):
    """Answers a few bytes a second, for ever."""
    peer.read_body(request)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        peer.send(b" ")
        time.sleep(0.05)  # this is the fault's pace, nobody waits for it


def lost(peer, request):
    """Does it, and drops the answer."""
    peer.read_body(request)
    peer.store.perform(request)
    peer.reset()


def then_dead(peer, request):
    """Does it, answers, and closes the connection that the client thinks is open."""
    peer.read_body(request)
    peer.send_reply(request, peer.store.perform(request))


def changed(change):
    """Does it, and sends change(reply)."""
    def act(peer, request):
        peer.read_body(request)
        reply = peer.store.perform(request)
        change(reply)
        return reply
    return act


def flood_headers(peer, request):
    peer.read_body(request)
    peer.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.send(b"X-Flood: " + b"x" * 1000 + b"\r\n")


def flood_body(peer, request):
    peer.read_body(request)
    peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.send(b"y" * 65536)


# ---- connections ----------------------------------------------------------------------------


class Peer:
    """One connection."""

    def __init__(self, store, connection):
        self.store, self.connection, self.buffer = store, connection, b""

    def receive(self, size):
        try:
            data = self.connection.recv(size)
        except (OSError, ValueError) as reason:
            raise Gone from reason
        if not data:
            raise Gone
        return data

    def send(self, data):
        try:
            self.connection.sendall(data)
        except (OSError, ValueError) as reason:
            raise Gone from reason

    def read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise Gone
            self.buffer += self.receive(65536)
            if not self.buffer[:1].isalpha():  # as servers answer to TLS
                self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                raise Gone
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return Request(head, self)

    def read_body(self, request, most=None):
        """Reads the body, or so much of it."""
        if request.sent == 0 and request.headers["expect"] == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wanted = request.size if most is None else min(most, request.size)
        parts = [request.body]
        while request.sent < wanted:
            data = self.buffer or self.receive(1 << 20)
            taken, self.buffer = data[:wanted - request.sent], data[wanted - request.sent:]
            request.sent += len(taken)
            parts.append(taken)
        request.body = b"".join(parts)

    def wait_closed(self):
        """Until the client has closed; what it still sends stays in its socket."""
        while not self.store.stopped:
            try:
                self.connection.settimeout(0.05)
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    break
                # It has sent more, which is not taken: whether it has closed shows in the state alone.
                state = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                if state != 1:  # ESTABLISHED
                    break
                time.sleep(0.02)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except (OSError, ValueError):
                break
        raise Gone

    def reset(self):
        """RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def send_reply(self, request, reply):
        headers = {"Date": email.utils.formatdate(self.store.now(), usegmt=True),
                   "Content-Length": str(len(reply.body)), **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} Status"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        body = b"" if request.method == "HEAD" else reply.body
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return headers.get("Connection") != "close"

    def run(self):
        try:
            while not self.store.stopped:
                request = self.read_request()
                if not self.store.serve(self, request):
                    break
        except Gone:
            pass
        finally:
            self.connection.close()


class Store:
    def __init__(self, bucket="bucket", context=None, verify=True):
        self.bucket, self.context, self.verify = bucket, context, verify
        self.keys = {ACCESS: (SECRET, "")}  # access key: secret, token
        self.clock_offset, self.region = 0, "us-east-1"
        self.objects, self.uploads, self.meta = {}, {}, {}
        self.requests, self.connections, self.complaints, self.skewed = [], 0, [], 0
        self.most_at_once = self.at_once = 0
        self.faults = collections.defaultdict(list)
        self.lock, self.stopped, self.threads, self.open = threading.Lock(), False, [], set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.acceptor = threading.Thread(target=self.accept)
        self.acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def endpoint(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def fault(self, operation, act, times=1):
        """The next so many requests of the operation meet with this; times=None: all from now on."""
        with self.lock:
            self.faults[operation].append([act, times])

    def count(self, operation):
        with self.lock:
            return sum(request.operation == operation for request in self.requests)

    def now(self):
        return time.time() + self.clock_offset

    # ---- threads

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.stopped:
                connection.close()
                return
            with self.lock:
                self.connections += 1
                thread = threading.Thread(target=self.run_peer, args=(connection,))
                self.threads.append(thread)
            thread.start()

    def run_peer(self, connection):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        with self.lock:
            self.open.add(connection)
        Peer(self, connection).run()
        with self.lock:
            self.open.discard(connection)

    def stop(self):
        self.stopped = True
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            pass
        self.acceptor.join()
        self.listener.close()
        with self.lock:
            still_open = list(self.open)
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self.threads:
            thread.join()

    # ---- requests

    def take_fault(self, operation):
        with self.lock:
            for name in (operation, "any"):
                if self.faults[name]:
                    entry = self.faults[name][0]
                    if entry[1] is not None:
                        entry[1] -= 1
                        if entry[1] == 0:
                            self.faults[name].pop(0)
                    return entry[0]
        return None

    def serve(self, peer, request):
        """True if the connection goes on."""
        with self.lock:
            self.requests.append(request)
            self.at_once += request.operation == "part"
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            fault = self.take_fault(request.operation)
            if fault:
                reply = fault(peer, request)
            else:
                reply = self.refuse(request)
                if reply and request.size:
                    reply.headers["Connection"] = "close"
                if not reply:
                    peer.read_body(request)
                    reply = self.perform(request)
            return reply is not None and peer.send_reply(request, reply)
        finally:
            with self.lock:
                self.at_once -= request.operation == "part"

    def refuse(self, request):
        """What is wrong with the request's head, or None."""
        if not self.verify:
            return None
        found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,"
                             r"SignedHeaders=([^,]+),Signature=([0-9a-f]{64})", request.headers["authorization"])
        if not found:
            return error(403, "AccessDenied")
        access, day, region, names, signature = found.groups()
        if access not in self.keys:
            return error(403, "InvalidAccessKeyId")
        secret, token = self.keys[access]
        if request.headers["x-amz-security-token"] != token:
            return error(400, "ExpiredToken")
        if region != self.region:
            return error(400, "AuthorizationHeaderMalformed", extra=f"<Region>{self.region}</Region>")
        unsigned = [name for name in request.headers if (name.startswith("x-amz-") or name == "host")
                    and request.headers[name] and name not in names.split(";")]
        if unsigned or signature != self.sign(request, secret, day, region, names):
            return error(403, "SignatureDoesNotMatch")
        date = datetime.datetime.strptime(request.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
        if abs(date.timestamp() - self.now()) > SKEW_MAX_S:
            with self.lock:
                self.skewed += 1
            return error(403, "RequestTimeTooSkewed")
        if request.bucket != self.bucket:
            return error(404, "NoSuchBucket")
        return None

    @staticmethod
    def sign(request, secret, day, region, names):
        def encode(text, safe=""):
            return "".join(char if char in PLAIN + safe else f"%{ord(char):02X}" for char in text)

        query = "&".join(sorted(f"{encode(name)}={encode(value)}" for name, value in request.query.items()))
        headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names.split(";"))
        canonical = "\n".join([request.method, encode(request.path, "/"), query, headers, names,
                               request.headers["x-amz-content-sha256"]])
        text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], f"{day}/{region}/s3/aws4_request",
                          hashlib.sha256(canonical.encode("latin-1")).hexdigest()])
        key = ("AWS4" + secret).encode()
        for part in (day, region, "s3", "aws4_request", text):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return key.hex()

    # ---- what a store does

    def perform(self, request):
        digest = request.headers["x-amz-content-sha256"]
        if self.verify and hashlib.sha256(request.body).hexdigest() != digest:
            return error(400, "XAmzContentSHA256Mismatch")
        with self.lock:
            return getattr(self, "do_" + request.operation)(request)

    def do_put(self, request):
        etag = hashlib.md5(request.body).hexdigest()
        self.keep(request.key, request.body, etag, request.headers)
        return Reply(headers={"ETag": f'"{etag}"'})

    def keep(self, key, body, etag, headers):
        self.objects[key] = body
        self.meta[key] = {name: value for name, value in headers.items()
                          if name.startswith("x-amz-meta-") or name == "content-type"}
        self.meta[key]["ETag"] = f'"{etag}"'

    def do_head(self, request):
        if request.key not in self.objects:
            return Reply(404)
        return Reply(headers={**self.meta[request.key], "Content-Length": str(len(self.objects[request.key]))})

    def do_create(self, request):
        upload = f"up/load+{len(self.uploads)}=="  # in need of encoding
        self.uploads[upload] = (request.key, {}, dict(request.headers))
        return Reply(body=f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
                          "</InitiateMultipartUploadResult>".encode())

    def do_part(self, request):
        if request.query["uploadId"] not in self.uploads:
            return error(404, "NoSuchUpload")
        self.uploads[request.query["uploadId"]][1][int(request.query["partNumber"])] = request.body
        return Reply(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})

    def do_complete(self, request):
        upload = request.query["uploadId"]
        if upload not in self.uploads:
            return error(404, "NoSuchUpload")
        key, parts, headers = self.uploads[upload]
        space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
        listed = [(int(part.find(space + "PartNumber").text), part.find(space + "ETag").text.strip('"'))
                  for part in xml.etree.ElementTree.fromstring(request.body).findall(space + "Part")]
        sums = [(number, hashlib.md5(parts[number]).hexdigest()) for number in sorted(parts)]
        if listed != sums or any(len(parts[number]) < 5 << 20 for number, _ in sums[:-1]):
            return error(400, "InvalidPart")
        del self.uploads[upload]
        etag = hashlib.md5(b"".join(bytes.fromhex(md5) for _, md5 in sums)).hexdigest() + f"-{len(sums)}"
        self.keep(key, b"".join(parts[number] for number, _ in sums), etag, headers)
        return Reply(body=b"\n \n" + f"<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag>"
                          "</CompleteMultipartUploadResult>".encode())

    def do_abort(self, request):
        if self.uploads.pop(request.query["uploadId"], None) is None:
            return error(404, "NoSuchUpload")
        return Reply(204, headers={"Content-Length": None})

    page = 1000

    def do_list(self, request):
        """Uploads by key and id, `page` at a time."""
        query = request.query
        after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
        found = sorted((key, upload) for upload, (key, _, _) in self.uploads.items()
                       if key.startswith(query.get("prefix", "")) and (key, upload) > after)
        shown = found[:min(self.page, int(query["max-uploads"]))]
        body = "".join(f"<Upload><Key>{key}</Key><UploadId>{upload}</UploadId></Upload>" for key, upload in shown)
        if len(found) > len(shown):
            body += (f"<IsTruncated>true</IsTruncated><NextKeyMarker>{shown[-1][0]}</NextKeyMarker>"
                     f"<NextUploadIdMarker>{shown[-1][1]}</NextUploadIdMarker>")
        return Reply(body=f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>".encode())
