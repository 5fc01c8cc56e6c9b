"""Commands that documents show: found, looked through, and run as they stand.

A block is what is indented by four spaces, or fenced. It is a shell's if its fence says so (sh, console) or, without a
name, if its first line begins with a program. `<!-- not run: REASON -->` above a block keeps it from being run; its
commands and options must exist all the same.

A block is run in a folder that its document's blocks share, one after the other, with

- `metricmq` on the PATH, files that the documents speak of (cpu.csv), and the data directory of the house that serves
  all documents as ./metricmq-data;
- hosts that documents name (127.0.0.1, localhost, broker, a, b, ...) replaced by a loopback address: the house's, or
  where a block starts roles itself, one of its own, with a broker behind the scene if it starts none;
- UID replaced by the uid of a metric, /etc/metricmq and /var/lib/metricmq by folders, times of load tests by short ones.

Roles in the foreground are kept in the background, and a block goes on when they are ready. In a block with prompts (`$ `)
the lines below a command are its output: compared in form, so that numbers, keys and what `...` stands for may differ.
"""
import dataclasses
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import threading

import harness

NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->$")
PROGRAMS = {"metricmq", "sudo", "docker", "podman", "systemctl", "systemd-analyze", "journalctl", "apt-get", "apt", "dpkg",
            "sqlite3", "promtool", "nginx", "curl", "git", "cmake", "ctest", "cc", "python3"}
SHELLS = {"sh", "bash", "console"}
ROLES = {"up", "broker", "worker", "http"}
BLOCK_S = 240  # a machine may be busy
_numbers = itertools.count(2)
_lock = threading.Lock()


@dataclasses.dataclass
class Block:
    document: str
    line: int  # its first one, from 1
    kind: str  # sh, python, or what else the fence says; text
    lines: list
    not_run: str | None

    def __str__(self):
        return f"{self.document}:{self.line}"

    @property
    def prompts(self):
        return any(line.startswith("$ ") for line in self.lines)


def is_command(line):
    word = line.removeprefix("$ ").split(" ")[0]
    return bool(word) and (word in PROGRAMS or word.startswith(("ops/", "./")) or "/ops/" in word
                           or re.fullmatch(r"[a-z][\w.-]*", word) is not None and shutil.which(word) is not None)


def kind_of(name, lines):
    if name:
        return "sh" if name in SHELLS else name
    return "sh" if is_command(lines[0]) and not any(re.search("[─-╿▲-◆]", line) for line in lines) else "text"


def find(document, text):
    """All blocks of a document, in order."""
    blocks, mark, at = [], None, 0
    lines = text.splitlines()
    while at < len(lines):
        line = lines[at]
        first = at
        if line.startswith("```"):
            name, body = line[3:].strip(), []
            while not lines[at + 1].startswith("```"):
                at += 1
                body.append(lines[at])
            at += 2
            blocks.append(Block(document, first + 1, kind_of(name, body), body, mark))
            mark = None
        elif line.startswith("    ") and (at == 0 or not lines[at - 1].strip()) and line.strip():
            body = []
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                body.append(lines[at][4:])
                at += 1
            while not body[-1].strip():
                body.pop()
            blocks.append(Block(document, first + 1, kind_of("", body), body, mark))
            mark = None
        else:
            found = NOT_RUN.match(line)
            mark = found.group(1) if found else mark if not line.strip() else None
            at += 1
    return blocks


# ---- what they say ---------------------------------------------------------------------------------------------------

def commands_of(block):
    """Command lines without prompts, outputs and line breaks behind a backslash."""
    lines = [line[2:] for line in block.lines if line.startswith("$ ")] if block.prompts else block.lines
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def words_of(command):
    """Simple commands of a line, as lists of words; comments are none."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split, lexer.commenters = True, "#"
    group = []
    for word in lexer:
        if set(word) <= set(";&|()"):
            yield group
            group = []
        else:
            group.append(word)
    yield group


def options_of(command, cache={}):
    """The options of a command of metricmq; None: there is none of that name."""
    if command not in cache:
        done = harness.run(command, "--help", check=False)
        cache[command] = set(re.findall(r"--[\w-]+", done.out)) if done.returncode == 0 else None
    return cache[command]


def faults_of(block):
    """What is named and does not exist: commands of metricmq, their options, scripts in ops/ and their options."""
    faults = []
    for words in itertools.chain.from_iterable(words_of(line) for line in commands_of(block)):
        words = list(itertools.dropwhile(lambda word: re.fullmatch(r"sudo|\w+=.*", word), words))
        flags = [word.split("=")[0] for word in words if word.startswith("--") and word != "--"]
        name = pathlib.PurePath(words[0]).name if words else ""
        if name == "metricmq" and len(words) > 1 and not words[1].startswith("-") and words[1] not in ("help", "COMMAND"):
            there = options_of(words[1])
            faults += [f"metricmq {words[1]}"] if there is None else [flag for flag in flags if flag not in there]
        elif words and "ops/" in words[0]:
            script = harness.SOURCE / "ops" / name
            text = script.read_text() if script.is_file() else ""
            helper = harness.SOURCE / "tests" / name / "run.py"  # a script may hand its options on
            text += helper.read_text() if helper.is_file() else ""
            faults += [words[0]] if not text else [flag for flag in flags if flag not in text]
    return faults


# ---- running them ----------------------------------------------------------------------------------------------------

def new_address():
    """A loopback address that nobody else of this machine uses."""
    with _lock:
        number = next(_numbers)
    base = harness.LOCAL.removeprefix("tcp://").removesuffix(":*").split(".")
    return f"127.{128 + int(base[1]) % 64 + number // 64}.{int(base[2])}.{(int(base[3]) + 101 * number) % 255}"


def starts_roles(block):
    """The roles that it starts."""
    groups = itertools.chain.from_iterable(words_of(line) for line in commands_of(block))
    return {words[1] for words in groups if len(words) > 1 and words[0] == "metricmq" and words[1] in ROLES
            and "--help" not in words}


def is_unsociable(block):
    """Does it take rows away that others want, or would what others do show in its result?"""
    groups = itertools.chain.from_iterable(words_of(line) for line in commands_of(block)) if block.kind == "sh" else ()
    return any(words[:2] == ["metricmq", "load"] or words[:2] == ["metricmq", "prune"] and "--dry-run" not in words
               for words in groups)


PRELUDE = r"""
set -eu -o pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT
role() { # COMMAND...: in the background until the block ends; goes on when it is ready
    local out
    out=$(mktemp "$MMQ_ROLES/XXXXXX")
    command metricmq "$@" >"$out" 2>"$out.err" &
    echo $! >"$out.pid"
    until grep -q ' ready' "$out" || grep -q standby "$out.err"; do
        kill -0 "$(cat "$out.pid")" || { cat "$out.err" >&2; return 1; }
        read -rt 0.02 <>"$MMQ_ROLES/never" || true
    done
}
metricmq() {
    case "$1 $*" in
    *--help*) command metricmq "$@" ;;
    up\ *|broker\ *|worker\ *|http\ *) role "$@" ;;
    *) if ((BASHPID == $$)); then command metricmq "$@"; else exec metricmq "$@"; fi ;; # so that `&` is the program's
    esac
}
"""
WRAPPER = r"""#!/bin/sh
case "$1" in
worker) export METRICMQ_CONNECT="tcp://$MMQ_ADDRESS:5751" ;;
*) export METRICMQ_CONNECT="tcp://$MMQ_ADDRESS:5750" ;;
esac
case "$1" in up) export METRICMQ_DATA=own-data ;; esac
export METRICMQ_BIND="tcp://$MMQ_ADDRESS:5750" METRICMQ_BIND_WORKERS="tcp://$MMQ_ADDRESS:5751"
export METRICMQ_CONNECT_WORKERS="$METRICMQ_BIND_WORKERS" METRICMQ_HTTP="$MMQ_ADDRESS:8080"
case "$*" in *"--clients 0"*) ;; *) export METRICMQ_DURATION=200ms METRICMQ_WARMUP=0 ;; esac
case "$1$*" in *--help*) ;; watchwatch*) exec timeout --preserve-status -s INT 2 "$MMQ_PROGRAM" "$@" ;; esac # it has no end
exec "$MMQ_PROGRAM" "$@"
"""
HOSTS = re.compile(r"(?:(?<=tcp://)|(?<=http://)|(?<![\w./-]))(127\.0\.0\.1|0\.0\.0\.0|localhost|broker|other|a|b|\*)"
                   r"(?=:(?:8080|575\d|\*))")


class House:
    """`metricmq up` with data, which the blocks of documents share; one with an unsociable block has its own."""

    def __init__(self, folder):
        self.folder = folder
        self.address = new_address()
        (folder / "bin").mkdir()
        wrapper = folder / "bin" / "metricmq"
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        self.program = harness.Program("up", "--data", folder / "data", "--http", f"{self.address}:8080", "--bind",
                                       f"tcp://{self.address}:5750", "--bind-workers", f"tcp://{self.address}:5751")
        connect = ("--connect", f"tcp://{self.address}:5750")
        harness.run("demo", "--metrics", 5, "--rows", 4032, *connect)
        self.uid = json.loads(harness.run("models", "--format", "json", *connect).out)[0]["uid"]
        (folder / "cpu.csv").write_text("timestamp,value,anomaly_score,raw_score\n"
                                        "2013-08-15 21:34:00,222,0.025,0.5\n2026-01-01 00:05:00,7,0.95,0.9\n")
        harness.run("import", folder / "cpu.csv", "--uid", "cpu.1", "--name", "cpu.1", *connect)

    def environment(self, folder, address):
        roles = folder / "roles"
        roles.mkdir(exist_ok=True)
        if not (roles / "never").exists():
            os.mkfifo(roles / "never")
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "MMQ_ADDRESS": address,
                "MMQ_PROGRAM": str(pathlib.Path(harness.PROGRAM).resolve()), "MMQ_ROLES": str(roles), "LC_ALL": "C.UTF-8",
                "PYTHONPATH": str(harness.SOURCE / "clients/python"), "PYTHONDONTWRITEBYTECODE": "1"}

    def prepare(self, folder):
        """A folder for a document's blocks."""
        folder.mkdir()
        shutil.copy(self.folder / "cpu.csv", folder)
        (folder / "metricmq-data").symlink_to(self.folder / "data")
        for name in ("etc", "var"):
            (folder / name).mkdir()

    def adapt(self, text, folder, address, there):
        text = HOSTS.sub(lambda found: there if found.group(1) == "b" else address, text)
        text = re.sub(r"--duration \S+", "--duration 200ms", text)
        text = text.replace("/etc/metricmq", str(folder / "etc")).replace("/var/lib/metricmq", str(folder / "var"))
        text = re.sub(r"\bClient\(\)", f'Client("tcp://{address}:5750")', text)
        return re.sub(r"\bUID\b", self.uid, text)

    def run(self, block, folder):
        """Raises if a command fails, or says what the document does not."""
        roles = starts_roles(block) if block.kind == "sh" else set()
        address = new_address() if roles else self.address
        environment = self.environment(folder, address)
        there = new_address()
        if block.kind == "python":
            command = ["/usr/bin/python3", "-c", self.adapt("\n".join(block.lines), folder, address, there)]
        else:
            command = ["bash", "-c", self.script(block, roles, folder, address, there)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        try:
            said, complaints = process.communicate(timeout=BLOCK_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, complaints = process.communicate()
        finally:
            self.end_roles(folder / "roles")
        if process.returncode:
            raise AssertionError(f"{block}: exit {process.returncode}\n" + "\n".join(block.lines)
                                 + f"\n--- it said\n{said[-2000:]}\n{complaints[-2000:]}")
        if block.prompts:
            self.compare(block, folder, address, there, said)

    def script(self, block, roles, folder, address, there):
        lines = [PRELUDE]
        if roles and not roles & {"up", "broker"}:
            lines.append("role broker")
        for number, command in enumerate(commands_of(block)):
            if block.prompts:
                lines.append(f"echo; echo '=== {number}'")
            lines.append(self.adapt(command, folder, address, there))
        return "\n".join(lines) + "\n"

    @staticmethod
    def end_roles(folder):
        for path in folder.glob("*.pid"):
            try:
                os.kill(int(path.read_text()), signal.SIGTERM)
                harness.wait_until(lambda: not is_alive(int(path.read_text())), what=f"the end of {path}")
            except ProcessLookupError:
                pass
            path.unlink()

    def compare(self, block, folder, address, there, said):
        shown = []
        for line in block.lines:
            if line.startswith("$ "):
                shown.append([])
            elif line.strip():
                shown[-1].append(self.adapt(line, folder, address, there))
        parts = re.split(r"\n=== \d+\n", said)[1:]
        for wanted, part in zip(shown, parts, strict=True):
            rest = iter(part.splitlines())
            for line in wanted:
                form = form_of(line)
                if not any(re.fullmatch(form, got.strip()) for got in rest):
                    raise AssertionError(f"{block}: it does not say\n{line}\nbut\n{part[:2000]}")

    def close(self):
        self.program.stop()


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def form_of(line):
    """A pattern: numbers and hashes may be others, `...` and what is behind a `#` anything."""
    line = re.sub(r"\s+#\s.*", "", line).strip()
    parts = []
    for part in re.findall(r"\.\.\.|(?=[a-f]*\d)[0-9a-f]{6,}|\d[\d,.]*|\s+|[A-Za-z]+|.", line):
        if part == "...":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        elif re.fullmatch(r"[0-9a-f]{6,}", part):
            parts.append(r"[0-9a-f]+")
        elif part[0].isdigit():
            parts.append(r"-?\d[\d,.eE+-]*")
        else:
            parts.append(re.escape(part))
    return "".join(parts)
