"""PostgreSQL for tests: Debian's, on a unix socket in a temporary folder, thrown away after use.

    with postgres.Server() as server:              # fsync is on, unless settings={"fsync": "off"}
        server.url("metricmq")                     # postgresql://... of a database, which is made if it is missing
        server.kill()                              # -9: the server and all of its processes at once
        server.start()
        with server.standby() as standby:          # streams from it
            standby.pause()                        # what is committed from here on, it does not show
            standby.resume()
            standby.promote()

    /usr/bin/python3 tests/postgres.py [--no-fsync] COMMAND...

runs a command with METRICMQ_TEST_POSTGRES, the URL of a server's database `postgres`, and METRICMQ_TEST_POSTGRES_PID, a file
whose first line is the server's process. Whoever kills it finds it started again.

A cluster is made once (initdb takes a second) and lies in the build folder; each server begins with a copy. PostgreSQL
refuses to run as root: then it runs as the user `postgres` of Debian's package. Where that package is not installed the
test is skipped, and says so on stderr; in CI (`CI` or `METRICMQ_ENGINES` is set) it fails.
"""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

import harness

VERSION = "15"
PROGRAMS = pathlib.Path("/usr/lib/postgresql") / VERSION / "bin"
TEMPLATE = harness.SOURCE / "build" / f"postgresql-{VERSION}"
USER = "metricmq"  # of the database: there is one, who may do all
PORT = "5432"  # names the socket, of which each server has a folder of its own
READY_S = 60
SKIPPED = 77  # exit status: nothing was tested
# Few and small processes. What is shared by memory lies in the folder, so that nothing is left of a server that was killed.
SETTINGS = {"listen_addresses": "", "shared_buffers": "32MB", "max_connections": "60", "wal_keep_size": "256MB",
            "dynamic_shared_memory_type": "mmap", "log_line_prefix": "%m %p ", "jit": "off"}


def lacking():
    """What is not installed; None: nothing."""
    programs = [PROGRAMS / name for name in ("postgres", "initdb", "pg_basebackup", "pg_isready", "psql")]
    missing = [str(path) for path in programs if not path.exists()] + ["setpriv"] * (not shutil.which("setpriv"))
    return f"no PostgreSQL: {', '.join(missing)} not installed (engine_packages of ops/packages.sh)" if missing else None


def require():
    """Skips or fails the test if no server can be started here."""
    text = lacking()
    if text is None:
        return
    if os.environ.get("CI") or os.environ.get("METRICMQ_ENGINES"):
        raise AssertionError(text)
    print(f"SKIPPED, NOT TESTED: {text}", file=sys.stderr, flush=True)
    raise unittest.SkipTest(text)


def owner():
    """Whose processes and files a server's are; None: ours."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def command(*args):
    """The command as its owner runs it, who ends when we do."""
    user = owner()
    become = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"] if user else []
    return ["setpriv", *become, "--pdeathsig", "QUIT", *map(str, args)]


def run(*args, folder="/", **options):
    done = subprocess.run(command(*args), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{args[0]}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def new_folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="metricmq-pg-"))
    if owner():
        shutil.chown(folder, owner().pw_uid, owner().pw_gid)
    return folder


def template():
    """The folder of a cluster that was never started. Of several who make it at once, one's is kept. Its texts are in
    the order of a language, so that a statement that forgets to say which order it wants is found out."""
    if TEMPLATE.exists():
        return TEMPLATE
    folder = new_folder()
    made = TEMPLATE.with_name(f"{TEMPLATE.name}.{os.getpid()}")
    try:
        run(PROGRAMS / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
            "--locale-provider=icu", "--icu-locale=en", "--no-sync", folder=folder)
        made.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", folder / "data", made], check=True)
        with contextlib.suppress(OSError):
            made.rename(TEMPLATE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(made, ignore_errors=True)
    return TEMPLATE


def children(pid):
    """Processes that a process has started and that have not ended."""
    found = []
    for path in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and int((path / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.name))
    return found


class Server:
    """Runs from the start of `with` on, or from start()."""

    def __init__(self, settings=None, fill=None):
        """`fill(data)` makes the folder of the cluster; without it, it is a copy of the template."""
        require()
        self.settings = {"port": PORT, **SETTINGS, **(settings or {})}
        self.port = self.settings["port"]
        self.folder = new_folder()
        self.data, self.log_file = self.folder / "data", self.folder / "log"
        self.process, self.frozen = None, []
        self.prefix = []  # of the command that starts it
        self.databases = {"postgres"}
        try:
            (fill or self.copy_template)(self.data)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @staticmethod
    def copy_template(data):
        subprocess.run(["cp", "-a", template(), data], check=True)

    # ---- how it is reached ----

    @property
    def pid(self):
        return self.process.pid

    def url(self, database="postgres"):
        """Of the database, which is made if it is missing."""
        if database not in self.databases:
            self.sql(f'CREATE DATABASE "{database}"')
            self.databases.add(database)
        name, folder = (urllib.parse.quote(str(text), safe="") for text in (database, self.folder))
        return f"postgresql://{USER}@/{name}?host={folder}" + (f"&port={self.port}" if self.port != PORT else "")

    def reach(self):
        """Arguments of PostgreSQL's own programs."""
        return ["-h", self.folder, "-p", self.port, "-U", USER]

    def sql(self, *statements, database="postgres", stdin=None):
        """What psql prints."""
        args = [PROGRAMS / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *self.reach(), "-d", database]
        for statement in statements:
            args += ["-c", statement]
        done = subprocess.run(args, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=600)
        if done.returncode != 0:
            raise AssertionError(f"psql: {done.stderr}")
        return done.stdout.strip()

    def log(self):
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    # ---- its life ----

    def start(self):
        """Starts it, and waits until it answers. Right after kill() too: until memory that was shared is free, it ends
        at once, and is started again."""
        settings = {**self.settings, "unix_socket_directories": self.folder}
        args = [PROGRAMS / "postgres", "-D", self.data, *(f"-c{name}={value}" for name, value in settings.items())]

        def begin():
            with open(self.log_file, "ab") as out:
                self.process = subprocess.Popen([*self.prefix, *command(*args)], cwd=self.folder,
                                                stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        def ready():
            if self.process.poll() is not None:
                if time.monotonic() > give_up:
                    return "gone"
                begin()
            return self.is_ready() and "ready"

        give_up = time.monotonic() + READY_S / 2  # a process that waits for the disk is killed when that is over
        begin()
        try:
            found = harness.wait_until(ready, READY_S, "PostgreSQL")
        except AssertionError:
            raise AssertionError(f"PostgreSQL did not start:\n{self.log()[-3000:]}") from None
        if found == "gone":
            raise AssertionError(f"PostgreSQL does not start:\n{self.log()[-3000:]}")

    def is_ready(self):
        return subprocess.run([PROGRAMS / "pg_isready", "-q", *self.reach(), "-d", "postgres"], check=False).returncode == 0

    def stop(self, sign=signal.SIGINT):
        """Ends it: SIGINT at once but in order, SIGTERM when all clients have gone, SIGQUIT without order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sign)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"PostgreSQL did not stop:\n{self.log()[-3000:]}") from None
        self.process = None

    def kill(self):
        """As if the machine had gone, but for its files: none of its processes does anything more."""
        os.kill(self.pid, signal.SIGSTOP)  # it shall not start others meanwhile
        for pid in [self.pid, *children(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def freeze(self):
        """None of its processes does anything until thaw(): it neither answers nor closes its connections."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = [self.pid, *children(self.pid)]
        self.send(signal.SIGSTOP)

    def thaw(self):
        self.send(signal.SIGCONT)

    def send(self, sign):
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, sign)

    def remove(self):
        """Its files, and the piece of shared memory that a server leaves which was killed."""
        with contextlib.suppress(OSError, IndexError):
            shared = (self.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "-m", shared], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind:
                print(self.log()[-3000:], file=sys.stderr)
            self.stop(signal.SIGQUIT)  # in order it would write all that is thrown away now
        finally:
            self.remove()

    # ---- replication ----

    def standby(self, settings=None):
        """A Standby, not started, that has all that is committed here now."""
        def fill(data):
            run(PROGRAMS / "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync",
                *self.reach(), folder=self.folder)

        standby = Standby({**self.settings, **(settings or {})}, fill)
        standby.databases = set(self.databases)
        return standby

    def position(self):
        """How far its log is on disk, with all that is committed. (Where the next record begins may lie behind that: at the
        beginning of a page, which a standby reaches with that record only.)"""
        return self.sql("SELECT pg_current_wal_flush_lsn()")


class Standby(Server):
    """Shows what its primary has committed, a moment later or, when paused, as of then. After promote() a server like
    any other."""

    def pause(self):
        """Waits until nothing more is replayed."""
        self.sql("SELECT pg_wal_replay_pause()")
        harness.wait_until(lambda: self.sql("SELECT pg_get_wal_replay_pause_state()") == "paused", what="the pause")

    def resume(self):
        self.sql("SELECT pg_wal_replay_resume()")

    def catch_up(self, primary):
        """Waits until it shows all that the primary has committed up to now."""
        position = primary.position()
        harness.wait_until(lambda: self.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t", 60,
                           "the standby's replay")

    def promote(self):
        """Waits until it is a primary."""
        self.sql("SELECT pg_promote(true, 60)")
        harness.wait_until(lambda: self.sql("SELECT pg_is_in_recovery()") == "f", 60, "the promotion")


def keep(server, process):
    """Until the process ends, the server is started again whenever it has ended."""
    def ended():
        if process.poll() is not None:
            return True
        if server.process.poll() is not None:
            server.start()
        return False

    harness.wait_until(ended, float("inf"))
    return process.returncode


def main(args):
    text = lacking()
    if text and not (os.environ.get("CI") or os.environ.get("METRICMQ_ENGINES")):
        print(f"SKIPPED, NOT TESTED: {text}", file=sys.stderr, flush=True)
        return SKIPPED
    settings = {}
    if args[0] == "--no-fsync":  # for tests that do not take the machine's power away
        settings, args = {"fsync": "off"}, args[1:]
    with Server(settings) as server:
        environment = {**os.environ, "METRICMQ_TEST_POSTGRES": server.url(),
                       "METRICMQ_TEST_POSTGRES_PID": str(server.data / "postmaster.pid")}
        status = keep(server, subprocess.Popen(args, env=environment))
        if status != 0:
            print(server.log()[-3000:], file=sys.stderr)
        return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
