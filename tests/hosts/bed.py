"""The bed: two brokers, three hosts of workers, PostgreSQL with a standby, two HTTP adapters behind haproxy, radosgw.

    client ─▶ front (haproxy) ─▶ http1, http2 ─┐                     ┌─▶ db1, db2 (primary, standby)
    client ────────────────────────────────────┴▶ broker1, broker2 ◀─┤
                                                                      work1, work2, work3 ─▶ archive (radosgw)

CURVE on every connection of the bus, TLS and a password to PostgreSQL, commits that wait for the standby. Each host is one
of network.py's; what it runs is started again when it ends (services.py).
"""
import contextlib
import pathlib
import re
import tempfile
import time

import bus
import dumps
import harness
import house
import msgpack
import network
import postgres
import services
import stand
from s3 import authority, engines

ADDRESSES = {"front": 10, "broker1": 11, "broker2": 12, "http1": 21, "http2": 22, "work1": 31, "work2": 32, "work3": 33,
             "db1": 41, "db2": 42, "archive": 51}
KINDS = {"broker": ["broker1", "broker2"], "worker": ["work1", "work2", "work3"], "adapter": ["http1", "http2"],
         "proxy": ["front"], "archive": ["archive"], "primary": [], "standby": []}
DATABASE = "metricmq"
SERVICES = ("metric.query", "metric.write", "metric.feedback")
WHOLE_S = 60  # for a host that is started or joined again


class Bed:
    def __init__(self, chance):
        self.random, self.folder = chance, pathlib.Path(tempfile.mkdtemp(prefix="metricmq-hosts-"))
        self.folder.chmod(0o755)
        self.hosts = network.Network(ADDRESSES).hosts
        self.roles, self.stack = {}, contextlib.ExitStack()
        self.api_key = "a-key-of-the-bed-0123456789"
        self.clients = [f"tcp://{self.hosts[name].address}:5750" for name in KINDS["broker"]]
        self.front = self.hosts["front"].address
        self.make_keys()
        self.start_databases()
        self.start_archive()
        self.start_roles()
        self.fill()

    # ---- how it is made ----

    def make_keys(self):
        folder = self.folder / "keys"
        harness.run("keygen", "--curve", folder, "server")
        for name in ("load", *KINDS["adapter"]):
            harness.run("keygen", "--curve", folder, "client", name, "--rights", "read,write,feedback,admin")
        for name in KINDS["worker"]:
            harness.run("keygen", "--curve", folder, "worker", name)
        self.client_environment = self.curve("clients/load")
        public = (folder / "server.cert").read_text()
        own = (folder / "clients" / "load.cert_secret").read_text()
        self.keys = (*(re.search(rf'{kind}-key = "(.{{40}})"', own).group(1).encode() for kind in ("public", "secret")),
                     re.search(r'public-key = "(.{40})"', public).group(1).encode())

    def curve(self, name):
        return {"METRICMQ_CURVE_KEY": str(self.folder / "keys" / f"{name}.cert_secret"),
                "METRICMQ_CURVE_SERVER": str(self.folder / "keys" / "server.cert")}

    def start_databases(self):
        passwords, certificates = self.folder / "passwords", self.folder / "certificates"
        passwords.write_text(f"*:*:*:{postgres.USER}:{services.PASSWORD}\n")
        passwords.chmod(0o600)
        certificates.mkdir(mode=0o755)
        trusted = authority.Authority(certificates, "authority")
        self.primary = services.Node(self.hosts["db1"], trusted, passwords)
        self.stack.enter_context(self.primary)
        self.primary.sql(f"ALTER USER {postgres.USER} PASSWORD '{services.PASSWORD}'")
        self.primary.url(DATABASE)  # makes it
        self.standby = services.Node(self.hosts["db2"], trusted, passwords, self.primary)
        self.stack.enter_context(self.standby)
        self.primary.set_synchronous(True)
        harness.wait_until(self.primary.has_standby, WHOLE_S, "the standby")
        self.trust, self.passwords = f"sslmode=verify-full&sslrootcert={trusted.certificate}", passwords

    def url(self, attributes):
        hosts = ",".join(self.hosts[name].address for name in ("db1", "db2"))
        return f"postgresql://{postgres.USER}@{hosts}/{DATABASE}?{self.trust}&target_session_attrs={attributes}"

    def start_archive(self):
        host = self.hosts["archive"]
        self.engine = self.stack.enter_context(engines.start("radosgw", prefix=host.prefix, address=host.address,
                                                             store="bluestore", again=True))
        host.spared.add(self.engine.keeper.pid)
        self.store = house.S3Store(self.engine, "dumps")

    def start_roles(self):
        mine = {"METRICMQ_LOG_LEVEL": "warn"}
        for name in KINDS["broker"]:
            address = self.hosts[name].address
            self.add(name, [("broker", [harness.PROGRAM, "broker", "--bind", f"tcp://{address}:5750", "--bind-workers",
                                        f"tcp://{address}:5751", "--curve", self.folder / "keys"], mine)])
        for name in KINDS["worker"]:
            self.add(name, self.workers_of(name, {**mine, **self.curve(f"workers/{name}"), **self.store.environment,
                                                  "PGPASSFILE": str(self.passwords)}))
            if name == KINDS["worker"][0]:  # its write worker makes the tables, which the standby is to have
                harness.wait_until(lambda: self.has_tables(self.standby), WHOLE_S, "the tables")
        for name in KINDS["adapter"]:
            self.add(name, [("http", [harness.PROGRAM, "http", "--http", f"{self.hosts[name].address}:8080", "--connect",
                                      ",".join(self.clients), "--http-host", "metrics.example", "--http-host", self.front,
                                      "--connections-per-address", "0"],
                             {**mine, **self.curve(f"clients/{name}"), "METRICMQ_API_KEY": self.api_key})])
        self.add("front", [("haproxy", ["haproxy", "-db", "-f", self.proxy_file()], {})])
        harness.wait_until(self.is_whole, WHOLE_S, "the bed")

    def add(self, name, roles):
        self.roles[name] = services.Roles(self.hosts[name], roles)
        self.roles[name].start()

    def has_tables(self, node):
        with contextlib.suppress(AssertionError):
            return node.sql("SELECT count(*) FROM metricmq.store", database=DATABASE) == "1"
        return False

    def workers_of(self, name, environment):
        brokers = ",".join(f"tcp://{self.hosts[broker].address}:5751" for broker in KINDS["broker"])
        data = self.folder / f"data-{name}"
        common = ["--connect", brokers, "--data", data]
        # Objects of a request have one name, whichever host delivers them.
        feedback = [*self.store.options, "--s3-insecure", "--server-id", "bed"]
        return [("write", [harness.PROGRAM, "worker", "write", *common, "--store", self.url("read-write")], environment),
                ("query", [harness.PROGRAM, "worker", "query", *common, "--store", self.url("prefer-standby")], environment),
                ("feedback", [harness.PROGRAM, "worker", "feedback", *common, "--store", self.url("prefer-standby"),
                              *feedback], environment)]

    def proxy_file(self):
        """ops/haproxy/metricmq.cfg with our addresses."""
        text = (harness.SOURCE / "ops" / "haproxy" / "metricmq.cfg").read_text()
        for old, new in (("0.0.0.0:80", f"{self.front}:80"), ("10.0.0.21:", f"{self.hosts['http1'].address}:"),
                         ("10.0.0.22:", f"{self.hosts['http2'].address}:")):
            assert old in text
            text = text.replace(old, new)
        path = self.folder / "haproxy.cfg"
        path.write_text(text)
        return path

    def fill(self):
        """Metrics to be read, and metrics to be dumped."""
        self.known = stand.Data(self.folder, self.random, rows=2000)
        self.run("import", "--connect", ",".join(self.clients), *sorted(self.folder.glob("metric_*.csv")))
        self.uids, self.wanted = [], {}
        for number in range(3):
            rows, path = list(dumps.source_rows(self.random, 200)), self.folder / f"dumped{number}.csv"
            dumps.write_csv(path, rows, True)
            self.uids.append(self.run("import", "--connect", ",".join(self.clients), path).out.split()[0])
            self.wanted[self.uids[-1]] = dumps.digest(dumps.wanted_csv(self.uids[-1], rows, True))
        self.standby.catch_up(self.primary)

    def run(self, *args):
        return harness.run(*args, env={**self.client_environment, "PGPASSFILE": str(self.passwords)})

    # ---- how it is ----

    def host_of(self, kind):
        """One of a kind."""
        if kind in ("primary", "standby"):
            return getattr(self, kind).host
        return self.hosts[self.random.choice(KINDS[kind])]

    def registered(self, endpoint):
        """Are all workers there, as a broker sees it?"""
        with bus.Bus(endpoint, timeout=1, curve=self.keys) as client, contextlib.suppress(TimeoutError):
            found = msgpack.unpackb(client.mmi("mmi.stats")[1], strict_map_key=False)["services"]
            return all(found.get(name, {"workers": 0})["workers"] == len(KINDS["worker"]) for name in SERVICES)
        return False

    def is_ready(self, address):
        with contextlib.suppress(OSError, harness.http.client.HTTPException):
            connection = harness.http.client.HTTPConnection(address, timeout=1)
            with contextlib.closing(connection):
                connection.request("GET", "/health/ready", headers={"Host": "metrics.example"})
                return connection.getresponse().status == 200
        return False

    def has_archive(self):
        with contextlib.suppress(OSError, harness.http.client.HTTPException):
            connection = harness.http.client.HTTPConnection(self.store.address, timeout=1)
            with contextlib.closing(connection):
                connection.request("GET", "/")
                return connection.getresponse().status < 500
        return False

    def is_whole(self):
        """Is everything there that was made?"""
        for roles in self.roles.values():
            roles.check()
        return all(self.registered(endpoint) for endpoint in self.clients) \
            and all(self.is_ready(f"{self.hosts[name].address}:8080") for name in KINDS["adapter"]) \
            and self.is_ready(f"{self.front}:80") and self.primary.has_standby() and self.has_archive()

    def check_store(self):
        """The primary's tables are whole, and so are the standby's."""
        self.standby.catch_up(self.primary)
        for node in (self.primary, self.standby):
            done = self.run("check", "--store", f"postgresql://{postgres.USER}@{node.host.address}/{DATABASE}?{self.trust}")
            assert "whole" in done.out, done.out

    def check_dumps(self, accepted):
        """Nothing waits in a spool any more; the archive holds what was accepted, each once."""
        for name in KINDS["worker"]:
            spool = self.folder / f"data-{name}" / "spool"
            harness.wait_until(lambda: [path.name for path in spool.iterdir()] == ["quarantine"], 90, f"an empty spool of {name}")
            assert not list((spool / "quarantine").iterdir())
        house.check_objects(self.store, accepted, self.wanted)

    # ---- its end ----

    def stop(self):
        for name in reversed(self.roles):
            if name != "front":
                self.roles[name].stop()
        self.roles["front"].kill()
        self.standby.stop()
        self.stack.close()

    def log(self):
        lines = []
        for roles in self.roles.values():
            for role in roles.roles:
                lines.append(f"---- {roles.host.name}: {role.name} {role.ends[-5:]}\n{role.errors()[-2500:]}")
        for node in (self.primary, self.standby):
            lines.append(f"---- {node.host.name}\n{node.log()[-2500:]}")
        return "\n".join(lines)
