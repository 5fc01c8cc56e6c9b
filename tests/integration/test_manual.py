"""Manual pages and completions that the build has made: sound, whole, and of use in real shells."""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

import harness

BUILD = pathlib.Path(harness.PROGRAM).resolve().parent
DOCUMENTS = BUILD / "documents"
GENERATOR = BUILD / "metricmq_documents"
PAGES = sorted(DOCUMENTS.glob("man/man?/*"))
COMMANDS = re.findall(r"^  (\w[\w-]*)", harness.run("--help").out.split("commands:\n")[1], re.M)
BASH, ZSH, FISH = (DOCUMENTS / "completions" / name for name in ("metricmq.bash", "_metricmq", "metricmq.fish"))


def run(*command, status=0, env=None, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env={**os.environ, **(env or {})}, **options)
    if done.returncode != status:
        raise AssertionError(f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Pages(harness.Case):
    def test_there_is_one_for_each_command(self):
        names = {page.name for page in PAGES}
        wanted = {f"metricmq-{name}.1" for name in COMMANDS if name != "help"}
        self.assertGreater(len(wanted), 15)
        self.assertEqual(names, wanted | {"metricmq.1", "metricmq.conf.5", "metricmq-protocol.7"})

    def test_they_are_sound(self):
        self.assertEqual(run("mandoc", "-T", "lint", "-W", "style", *PAGES).stdout, "")
        for page in PAGES:
            self.assertEqual(run("groff", "-k", "-ww", "-man", "-Tutf8", page).stderr, "", page)

    def test_whatis_knows_them(self):
        """lexgrog is how mandb reads the NAME section."""
        for page in PAGES:
            name, text = page.name.rsplit(".", 1)[0], run("lexgrog", page).stdout
            self.assertRegex(text, rf'^{re.escape(str(page))}: "{re.escape(name)} - \S.+"$')

    def test_they_fit_a_terminal(self):
        for page in PAGES:
            text = run("man", "--warnings=w", "-l", page, env={"MANWIDTH": "80", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"})
            self.assertEqual(text.stderr, "", page)
            shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", text.stdout)
            widest = max(shown.splitlines(), key=len)
            self.assertLessEqual(len(widest), 100 if page.suffix == ".7" else 80, widest)

    def test_pages_that_they_name_exist(self):
        there = {page.name for page in PAGES}
        for page in PAGES:
            for name, section in re.findall(r"\\fI(metricmq[\w.\\-]*)\\fR\((\d)\)", page.read_text()):
                self.assertIn(f"{name}.{section}".replace("\\", ""), there, page)

    def test_every_option_is_there(self):
        conf = (DOCUMENTS / "man/man5/metricmq.conf.5").read_text().replace("\\-", "-")
        keys = set(re.findall(r"^\.TP\n\\fB([\w-]+)\\fR", conf, re.M))
        taken = set()
        for name in COMMANDS[:-1]:
            options = set(re.findall(r"^  --([\w-]+)", harness.run(name, "--help").out, re.M))
            page = (DOCUMENTS / f"man/man1/metricmq-{name}.1").read_text().replace("\\-", "-")
            self.assertEqual(options, set(re.findall(r"^\.TP\n\\fB--([\w-]+)\\fR", page, re.M)), name)
            taken |= options
        self.assertEqual(keys, taken - {"config", "help", "version"} | {"api-key"})

    def test_packed_pages_are_the_same(self):
        for page in PAGES:
            packed = DOCUMENTS / "man.gz" / page.parent.name / f"{page.name}.gz"
            self.assertEqual(run("gzip", "-dc", packed).stdout, page.read_text())


class Generator(harness.Case):
    def write(self, text, status=0):
        """What it makes of docs/protocol.md, or the sentence that it refuses it with."""
        (self.folder / "protocol.md").write_text(text)
        done = run(GENERATOR, self.folder / "out", self.folder, status=status)
        return done.stderr if status else (self.folder / "out/man/man7/metricmq-protocol.7").read_text()

    def test_it_makes_the_same_again(self):
        run(GENERATOR, self.folder, harness.SOURCE / "docs")
        for page in [*PAGES, BASH, ZSH, FISH]:
            self.assertEqual((self.folder / page.relative_to(DOCUMENTS)).read_bytes(), page.read_bytes())

    def test_what_markdown_becomes(self):
        text = self.write("# T\n\nfirst `a-b` **bold** and *slanted*\n\n- one\n  goes on\n- two\n\n## H `c`\n\n"
                          "| a | b | c |\n|---|---|---|\n| `x` | 1 \\| 2 | |\n\n    code\n\n    .more\n\n"
                          "```\n# no heading\n'quote\n```\n<!-- not in the manual -->\n## gone\n\n1. gone too\n\n## back\n\nend\n")
        body = text.split(".SH \"DESCRIPTION\"\n")[1]
        self.assertEqual(body, "first \\fBa\\-b\\fR \\fBbold\\fR and \\fIslanted\\fR\n.IP \\(bu 2\none goes on\n"
                         ".IP \\(bu 2\ntwo\n.SH \"H \\fBc\\fR\"\n.TP\n\\fBx\\fR\nb: 1 | 2\n"
                         ".PP\n.RS 2\n.nf\ncode\n\\&\n\\&.more\n.fi\n.RE\n.PP\n.RS 2\n.nf\n# no heading\n\\(aqquote\n.fi\n.RE\n"
                         ".SH \"back\"\nend\n.SH \"SEE ALSO\"\n\\fImetricmq\\fR(1), \\fImetricmq-broker\\fR(1), "
                         "\\fImetricmq-worker\\fR(1)\n")

    def test_text_is_no_request(self):
        text = self.write("# T\n\n.so /etc/passwd\n'ti 5\nback\\slash \\\\fB\n")
        self.assertIn("\\&.so /etc/passwd 'ti 5 back\\eslash \\efB\n", text)
        text = self.write("# T\n\n" + "word " * 15 + "abc .so /etc/passwd\n")
        self.assertIn("\n\\&.so /etc/passwd", text)

    def test_what_has_no_form_is_refused(self):
        for text, said in (("> quoted", "quotation"), ("1. one", "numbered"), ("* star", "asterisks"), ("<b>x</b>", "HTML"),
                           ("- a\n  - b", "list in a list"), ("a `b", "backtick"), ("a *b", "asterisk"),
                           ("#### deep", "heading"), ("```\nopen", "fence"), ("| a | b |\n| 1 | 2 |", "dashes"),
                           ("| a | b |\n|---|---|\n| 1 |", "cells"), ("| a |\n|---|", "no rows"), ("<!-- long", "comment"),
                           ("  x", "indented"), ("---", "rule"), ("![a](b)", "image")):
            with self.subTest(text):
                self.assertRegex(self.write(f"# T\n\n{text}\n", status=1), rf"^protocol\.md: line \d+: .*{said}")

    def test_a_document_that_is_not_there(self):
        self.assertIn("protocol.md: No such file", run(GENERATOR, self.folder / "out", self.folder / "x", status=1).stderr)
        self.assertIn("usage:", run(GENERATOR, status=2).stderr)


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, *command, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**os.environ, "TERM": "dumb", "LC_ALL": "C.UTF-8", **env})
        self.text = ""

    def wait(self, pattern, timeout=30):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{pattern} did not come: {self.text!r}")
            self.text += os.read(self.fd, 4096).decode("utf-8", "replace")
        return self.text

    def type(self, text):
        self.text = ""
        os.write(self.fd, text.encode())

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@unittest.skipIf(harness.SLOW, "no code of ours runs here: the release build's test is enough")
class Completions(harness.Case):
    def setUp(self):
        super().setUp()
        for name in ("cpu.csv", "disk.csv"):
            (self.folder / name).touch()
        (self.folder / "data folder").mkdir()

    def cases(self, complete):
        """complete(words): what may stand for the last of them."""
        commands = set(COMMANDS)
        self.assertEqual(complete("") & commands, commands)
        self.assertEqual(complete("qu"), {"query"})
        self.assertEqual(complete("worker", ""), {"query", "write", "feedback"})
        self.assertEqual(complete("worker", "f"), {"feedback"})
        self.assertEqual(complete("spool", ""), {"list", "retry", "drop"})
        self.assertEqual(complete("keygen", "s"), {"server"})
        self.assertEqual(complete("query", "--format", ""), {"table", "csv", "json", "msgpack"})
        self.assertEqual(complete("query", "--format", "t"), {"table"})
        self.assertEqual(complete("up", "--log-format", "l"), {"logfmt"})
        self.assertEqual(complete("query", "--anom"), {"--anomaly"})
        self.assertEqual(complete("check", "--f"), set())
        self.assertEqual(complete("help", "mig"), {"migrate"})
        self.assertEqual(complete("import", "cp"), {"cpu.csv"})
        self.assertEqual(complete("up", "--import", "d"), {"disk.csv", "data folder"})
        self.assertEqual({name.rstrip("/") for name in complete("up", "--data", "")}, {"data folder"})
        self.assertEqual(complete("query", "--limit", ""), set())
        for name in COMMANDS[:-1]:
            options = set(re.findall(r"^  (--[\w-]+)", harness.run(name, "--help").out, re.M))
            self.assertEqual(complete(name, "--"), options, name)

    def test_bash(self):
        source = f'source {BASH}; COMP_WORDS=(metricmq "$@"); COMP_CWORD=$#; _metricmq; printf "%s\\n" "${{COMPREPLY[@]}}"'

        def complete(*words):
            done = run("bash", "--norc", "-c", source, "bash", *words, cwd=self.folder)
            self.assertEqual(done.stderr, "")
            return set(done.stdout.splitlines()) - {""}
        self.cases(complete)
        self.assertEqual(complete("query", "--format", "="), {"table", "csv", "json", "msgpack"})
        self.assertEqual(complete("query", "--format", "=", "js"), {"json"})
        self.assertEqual(complete("query", "--format", "=", "json", "--ord"), {"--order"})
        self.assertTrue({"--data", "--format"} <= complete("spool", "--format", "json", "list", ""))
        self.assertEqual(complete("spool", "--format", "json", ""), {"list", "retry", "drop"})
        self.assertEqual(complete("help", "query", ""), set())

    def test_fish(self):
        def complete(*words):
            line = " ".join(["metricmq", *(word.replace(" ", "\\ ") for word in words)])
            done = run("fish", "--no-config", "-c", f'source {FISH}; complete -C "$argv"', line, cwd=self.folder,
                       env={"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "data folder")})
            self.assertEqual(done.stderr, "")
            found = {text.split("\t")[0].replace("\\ ", " ").rstrip("/") for text in done.stdout.splitlines()}
            return found - {"cpu.csv", "data folder", "disk.csv"} if words[0] == "help" else found
        self.cases(complete)

    def test_shells_understand_them(self):
        for shell, file in (("bash", BASH), ("zsh", ZSH), ("fish", FISH)):
            self.assertEqual(run(shell, "-n", file).stderr, "")

    def test_bash_with_a_keyboard(self):
        shell = Terminal("bash", "--norc", "--noprofile", "-i", env={"PS1": "$ ", "INPUTRC": "/dev/null"})
        self.addCleanup(shell.close)
        shell.wait(r"\$ ")
        shell.type(f"source {BASH}; cd {self.folder}; PS1='re''ady '\r")
        shell.wait("ready ")
        for typed, wanted in (("metricmq qu\t", "metricmq query "), ("--form\tj\t", "--format json "),
                              ("--order=ti\t", "--order=time "), ("\x15metricmq up --data dat\t", r"data\\ folder/")):
            shell.type(typed)
            shell.wait(wanted)

    def test_zsh_with_a_keyboard(self):
        shutil.copy(ZSH, self.folder)
        shell = Terminal("zsh", "-f", "-i", env={"PS1": "begin ", "HOME": str(self.folder)})
        self.addCleanup(shell.close)
        shell.wait("begin ")
        shell.type(f"fpath=({self.folder} $fpath); autoload -Uz compinit; compinit -u -d {self.folder}/dump; "
                   f"cd {self.folder}; PS1='re''ady '\r")
        shell.wait("ready ")
        for typed, wanted in (("metricmq qu\t", "query "), ("--form\t", "--format="), ("j\t", "json "),
                              ("--or\t", "--order="), ("ti\t", "time "), ("\x15metricmq worker q\t", "query "),
                              ("\x15metricmq import cp\t", r"cpu\.csv"),
                              ("\x15metricmq up --data=dat\t", r"data\\ folder/"),
                              ("\x15metricmq keygen \t", r"client\s+server\s+worker"),
                              ("\x15metricmq help mig\t", "migrate ")):
            shell.type(typed)
            shell.wait(wanted)


if __name__ == "__main__":
    harness.main()
