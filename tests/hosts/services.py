"""What runs on hosts: roles under a service manager as systemd's is, and PostgreSQL's servers.

    roles = Roles(host, [("query", ["worker", "query", ...], environment), ...])
    roles.start(); roles.kill()            # all of the host's processes, at once; none is started again
    node = Node(host, authority)           # a server of PostgreSQL
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import harness
import postgres

PAUSE_S = 1.0  # RestartSec= of ops/systemd
PASSWORD = "of-the-bed"
USUAL_ENDS = {0, 1, -signal.SIGKILL}  # a role that finds no store says so and ends with 1


class Role:
    """Started again a second after each end, as long as it is wanted. Its log is kept over all of them."""

    def __init__(self, host, name, command, environment):
        self.host, self.name, self.command, self.environment = host, name, command, environment
        self.log = harness.tempfile.NamedTemporaryFile(prefix=f"metricmq-log-{host.name}-{name}-", mode="w+b")
        self.process, self.wanted, self.again_s = None, False, 0.0
        self.ends = []  # exit statuses

    def begin(self):
        self.process = self.host.popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                       env={**os.environ, **self.environment})

    def look(self):
        if self.process is None or self.process.poll() is not None:
            if self.process is not None:
                self.ends.append(self.process.returncode)
                self.process, self.again_s = None, time.monotonic() + PAUSE_S
            if self.wanted and time.monotonic() >= self.again_s:
                self.begin()

    def errors(self):
        return pathlib.Path(self.log.name).read_text("utf-8", "replace")

    def check(self):
        """It has ended as it may, and said nothing that a sanitizer or a CHECK says."""
        found = harness.REPORT.search(self.errors())
        strange = [status for status in self.ends if status not in USUAL_ENDS]
        assert not found and not strange, f"{self.host.name}: {self.name}: {strange}\n{self.errors()[-6000:]}"


class Roles:
    """The roles of one host, and what manages them, which lives on when they are killed."""

    def __init__(self, host, roles):
        self.host = host
        self.roles = [Role(host, name, command, environment) for name, command, environment in roles]
        self.lock, self.ending, self.error = threading.Lock(), threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True, name=f"manager of {host.name}")
        self.thread.start()

    def run(self):
        try:
            while not self.ending.wait(0.02):
                with self.lock:
                    for role in self.roles:
                        role.look()
        except BaseException as error:  # it must not vanish with the thread
            self.error = error

    def want(self, wanted):
        with self.lock:
            for role in self.roles:
                role.wanted, role.again_s = wanted, 0.0

    def start(self):
        self.want(True)

    def kill(self):
        self.want(False)
        self.host.kill()

    def check(self):
        if self.error:
            raise self.error
        for role in self.roles:
            role.check()

    def stop(self):
        """SIGTERM: each ends with 0."""
        self.want(False)
        with self.lock:
            ended = [role for role in self.roles if role.process is not None]
            for role in ended:
                role.process.terminate()
        harness.wait_until(lambda: all(role.process is None for role in ended), 40, f"the end of {self.host.name}'s roles")
        self.ending.set()
        self.check()
        assert all(role.ends[-1] == 0 for role in ended), [(role.name, role.ends[-1]) for role in ended]


# ---- PostgreSQL ----

SETTINGS = {"ssl": "on", "password_encryption": "scram-sha-256", "fsync": "on", "max_connections": "120",
            # A peer that has vanished is noticed in seconds.
            "wal_sender_timeout": "4s", "wal_receiver_timeout": "4s", "wal_retrieve_retry_interval": "250ms",
            "tcp_user_timeout": "4s", "tcp_keepalives_idle": "4", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3",
            "hot_standby": "on", "log_replication_commands": "on"}
HBA = """\
local all all trust
hostssl all metricmq 10.77.0.0/24 scram-sha-256
hostssl replication metricmq 10.77.0.0/24 scram-sha-256
"""


class Node(postgres.Standby):
    """A server on a host, reached by others over TLS and with a password, by us over its unix socket."""

    def __init__(self, host, authority, passwords, peer=None):
        """`passwords`: a file of libpq's. `peer`: the primary that this one follows; None: it is one."""
        self.host = host
        self.secrets = postgres.new_folder()
        authority.context(host.name, f"IP:{host.address}")  # makes its certificate
        for name, target in ((f"{host.name}.pem", "server.pem"), (f"{host.name}.key", "server.key")):
            self.own(shutil.copy(authority.folder / name, self.secrets / target))
        (self.secrets / "hba").write_text(HBA)
        shutil.copy(passwords, self.secrets / "passwords")
        for name in ("hba", "passwords"):
            self.own(self.secrets / name)
        # sslcert: else libpq looks into the home of whoever started it, which is not its own.
        self.trust = (f"sslmode=verify-full sslrootcert={authority.certificate} passfile={self.secrets}/passwords"
                      f" sslcert={self.secrets}/none")
        self.peer = peer
        settings = {**SETTINGS, "listen_addresses": host.address, "ssl_cert_file": self.secrets / "server.pem",
                    "ssl_key_file": self.secrets / "server.key", "hba_file": self.secrets / "hba"}
        super().__init__(settings, self.follow if peer else None)
        self.prefix = host.prefix
        if peer:
            self.databases = set(peer.databases)

    @staticmethod
    def own(path):
        path = pathlib.Path(path)
        path.chmod(0o600)
        if postgres.owner():
            shutil.chown(path, postgres.owner().pw_uid, postgres.owner().pw_gid)

    def follow(self, data):
        """As a standby of its peer, by a copy of all that it has."""
        conninfo = f"host={self.peer.host.address} port={self.peer.port} user={postgres.USER} application_name={self.host.name} {self.trust}"
        command = [*self.host.prefix, *postgres.command(postgres.PROGRAMS / "pg_basebackup", "-D", data, "-R", "-X",
                                                         "stream", "-c", "fast", "--no-sync", "-d", conninfo)]
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"pg_basebackup: {done.stdout}{done.stderr}\n{self.peer.log()[-2000:]}")

    def kill(self):
        """All of the host, at once."""
        self.host.kill()
        if self.process is not None:
            self.process.wait()
        self.process = None

    def rebuild(self, peer):
        """After its death: follows who is the primary now."""
        self.peer = peer
        shutil.rmtree(self.data)
        self.follow(self.data)
        self.start()

    def set_synchronous(self, wanted):
        """Whether commits wait for a standby, whichever."""
        change = "ALTER SYSTEM SET synchronous_standby_names = '*'" if wanted else \
            "ALTER SYSTEM RESET synchronous_standby_names"
        self.sql(change, "SELECT pg_reload_conf()")
        # what waits now is told too
        harness.wait_until(lambda: self.sql("SHOW synchronous_standby_names") == ("*" if wanted else ""))

    def has_standby(self):
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            return self.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'") == "1"
        return False

    def remove(self):
        super().remove()
        shutil.rmtree(self.secrets, ignore_errors=True)
