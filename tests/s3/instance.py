"""A stand-in for an instance's metadata service (IMDSv2)."""
import datetime
import http.server
import json
import threading

ROLES = "/latest/meta-data/iam/security-credentials/"


class Service:
    """What it answers may be replaced: a path's answer is (status, body), or a function that gets the handler."""

    def __init__(self, lifetime_s=6 * 3600):
        self.lifetime_s, self.token = lifetime_s, "canary-imds-token=="
        self.access, self.secret, self.session = "ASIATEST", "canary-instance-secret", "canary-session-token"
        self.answers, self.requests = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                outer.requests.append((self.command, self.path))
                given = outer.answers.get(self.path)
                if callable(given):
                    return given(self)
                status, body = given or outer.answer(self)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return None

            do_GET = do_PUT = serve

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the client went away, as it should
        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler):
        if handler.path == "/latest/api/token":
            fit = handler.command == "PUT" and handler.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            return (200, self.token.encode()) if fit else (400, b"")
        if handler.headers["X-aws-ec2-metadata-token"] != self.token:
            return 401, b""
        if handler.path == ROLES:
            return 200, b"a-role+x"
        if handler.path == ROLES + "a-role%2Bx":
            return 200, self.keys()
        return 404, b""

    def keys(self, **more):
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.lifetime_s)
        return json.dumps({"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
                           "AccessKeyId": self.access, "SecretAccessKey": self.secret, "Token": self.session,
                           "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"), **more}).encode()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
