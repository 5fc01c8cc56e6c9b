"""What the program is built with, what it calls, and what it gives up when it starts (docs/security.md)."""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import unittest

import harness

BUILD = pathlib.Path(harness.PROGRAM).resolve().parent
CACHE = (BUILD / "CMakeCache.txt").read_text() if (BUILD / "CMakeCache.txt").exists() else ""
RELEASE = re.search(r"^CMAKE_BUILD_TYPE:\w+=Rel", CACHE, re.M)
ROLES = {"broker": ["--bind", harness.LOCAL, "--bind-workers", harness.LOCAL],
         "http": ["--http", "127.0.0.1:0", "--connect", "tcp://127.0.0.1:9"]}


def read(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, harness.PROGRAM], check=True, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


def called():
    """The names of what the program wants of libraries."""
    return {found.group(1) for found in re.finditer(r" UND (\w+)", read("--dyn-syms"))}


@unittest.skipUnless(RELEASE, "not a release's build")
class Built(unittest.TestCase):
    def test_position_independent(self):
        self.assertRegex(read("--file-header"), r"Type:\s+DYN \(Position-Independent Executable file\)")

    def test_relocations_are_read_only(self):
        self.assertRegex(read("--segments"), r"GNU_RELRO")
        dynamic = read("--dynamic")
        self.assertRegex(dynamic, r"\(FLAGS\)\s+BIND_NOW")
        self.assertRegex(dynamic, r"\(FLAGS_1\)\s+Flags: NOW PIE")
        self.assertNotRegex(dynamic, r"\((RPATH|RUNPATH|TEXTREL)\)")

    def test_nothing_is_both_written_and_run(self):
        segments = read("--segments")
        self.assertRegex(segments, r"GNU_STACK\s.* RW\s")
        for flags in re.findall(r"^\s+LOAD\s+(?:0x\w+\s+){5}(.{3})", segments, re.M):
            self.assertFalse("W" in flags and "E" in flags, flags)

    def test_checked_calls(self):
        names = called()
        self.assertIn("__stack_chk_fail", names)
        self.assertLessEqual({"__memcpy_chk", "__snprintf_chk", "__vsnprintf_chk"}, names)

    def test_every_file_was_compiled_so(self):
        commands = json.loads((BUILD / "compile_commands.json").read_text())
        ours = [entry["command"] for entry in commands
                if re.search(r"/(lib|broker|workers|clients)/[\w/]+\.c$", entry["file"]) and "/tests/" not in entry["file"]]
        self.assertGreater(len(ours), 150)
        for flag in ("-fstack-protector-strong", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=[23]", "-fPI[CE]",
                     *["-fcf-protection=full"] * (os.uname().machine == "x86_64")):
            self.assertEqual([command for command in ours if not re.search(rf"{flag}\b", command)], [], flag)


class Calls(unittest.TestCase):
    """A library's function that the program does not name is one that no request can bring it to."""

    def setUp(self):
        if "san" in harness.PROGRAM or not RELEASE:
            self.skipTest("sanitizers bring calls of their own")

    def test_archives_are_only_written(self):
        names = {name for name in called() if name.startswith("archive_")}
        self.assertIn("archive_write_header", names)
        self.assertEqual({name for name in names if re.search("read|extract|match|disk|program|open_f", name)}, set())

    def test_no_program_is_started(self):
        self.assertEqual({name for name in called() if re.fullmatch(
            r"exec\w*|fexecve|posix_spawnp?|system|popen|v?fork|clone\w*|dlm?open|sqlite3_(load|enable_load)_extension",
            name)}, set())

    def test_no_buffer_of_unknown_size_is_filled(self):
        self.assertEqual({name for name in called() if re.fullmatch(
            r"(__)?(gets|strcpy|strcat|sprintf|vsprintf|stpcpy)(_chk)?|mktemp|tmpnam|tempnam", name)}, set())


class Confined(harness.Case):
    def roles(self):
        """A process of each kind, with limits that would allow it a core."""
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        prefix = ("prlimit", f"--core={'unlimited' if most == resource.RLIM_INFINITY else most}:")
        for role, options in ROLES.items():
            yield harness.Program(role, *options, prefix=prefix)
        yield harness.up(self.folder / "data", prefix=prefix)

    def test_no_new_rights_and_no_core(self):
        for program in self.roles():
            with program:
                folder = pathlib.Path(f"/proc/{program.process.pid}")
                self.assertRegex((folder / "status").read_text(), r"NoNewPrivs:\s+1")
                soft = re.search(r"Max core file size\s+(\d+)", (folder / "limits").read_text()).group(1)
                self.assertLessEqual(int(soft), 1)

    def abort(self, process):
        """True if its end by SIGABRT left a core."""
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -os.WTERMSIG(status)
        self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
        return os.WCOREDUMP(status)

    def test_a_crash_leaves_no_core(self):
        """F74: whatever the machine does with cores, it does it with none of ours."""
        here = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, here)
        if not self.abort(subprocess.Popen(["sleep", "60"], preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2))):
            self.skipTest("this machine keeps no cores")
        for core in self.folder.glob("core*"):
            core.unlink()
        program = next(self.roles())
        self.assertFalse(self.abort(program.process))
        program.close()
        self.assertEqual(list(self.folder.glob("core*")), [])


if __name__ == "__main__":
    harness.main()
