"""HTTP as people use it: through curl. An answer has its status, headers, body and curl's own exit status."""
import dataclasses
import pathlib
import subprocess
import tempfile


@dataclasses.dataclass
class Answer:
    exit: int  # curl's: 0 done, 18 and 56 a broken transfer
    status: int
    headers: dict  # lower-case name -> value; of a repeated one the values, joined by ", "
    body: bytes
    errors: str

    def __getitem__(self, name):
        return self.headers.get(name.lower())


def parse_head(text):
    """Status and headers of the last response head."""
    head = text.replace("\r\n", "\n").strip("\n").split("\n\n")[-1].split("\n")
    if not head[0].startswith("HTTP/"):
        return 0, {}
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(head[0].split()[1]), headers


def curl(program, path, *options, method=None, headers=None, data=None, timeout=120):
    """One request with `curl`; program: a harness.Program or a URL without its path."""
    base = program if isinstance(program, str) else program.ready["http"]
    unix = base.startswith("unix:")
    with tempfile.TemporaryDirectory(prefix="metricmq-curl-") as folder:
        head, body = pathlib.Path(folder, "head"), pathlib.Path(folder, "body")
        args = ["curl", "-sS", "--path-as-is", "-D", head, "-o", body, "--max-time", timeout]
        args += ["--unix-socket", base.removeprefix("unix:")] if unix else []
        args += ["-I"] if method == "HEAD" else ["-X", method] if method else []
        for name, value in (headers or {}).items():
            args += ["-H", f"{name}: {value}"]
        if data is not None:
            pathlib.Path(folder, "data").write_bytes(data)
            args += ["--data-binary", f"@{folder}/data"]
        args += [*options, ("http://unix" if unix else base.rstrip("/")) + path]
        done = subprocess.run([*map(str, args)], capture_output=True, text=True, timeout=timeout + 30)
        status, fields = parse_head(head.read_text("latin-1") if head.exists() else "")
        return Answer(done.returncode, status, fields,
                      body.read_bytes() if body.exists() and method != "HEAD" else b"", done.stderr)


def make_certificate(folder, name="localhost"):
    """A certificate for 127.0.0.1, ::1 and this name, in folder/cert.pem, its key in folder/key.pem."""
    certificate = pathlib.Path(folder, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-addext",
                    f"subjectAltName=DNS:{name},IP:127.0.0.1,IP:::1", "-keyout", pathlib.Path(folder, "key.pem"),
                    "-out", certificate], check=True, capture_output=True)
    return certificate
