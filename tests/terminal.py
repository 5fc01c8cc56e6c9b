"""A terminal that a program runs on: a pty, and what its screen shows.

It knows the few sequences that `metricmq status --watch` uses and fails on every other one: so a byte of a stranger that
steers a terminal, of whatever kind, is found.
"""
import fcntl
import os
import pty
import re
import resource
import select
import struct
import subprocess
import termios
import time

SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
MODES = {"1049": "alternate", "25": "cursor", "7": "wrap"}


class Screen:
    """What is shown: lines of characters, each with its style."""

    def __init__(self, columns, rows):
        self.modes = {"alternate": False, "cursor": True, "wrap": True}
        self.rest = ""
        self.entered = 0
        self.resize(columns, rows)
        self.pictures = 1  # nothing was drawn for another size

    def resize(self, columns, rows):
        """What was asked to be drawn before may still come: one picture that does not fit is forgiven, see `fits`."""
        self.columns, self.rows = columns, rows
        self.cells = [[(" ", "")] * columns for _ in range(rows)]
        self.x = self.y = 0
        self.style = ""
        self.pictures = 0  # begun since
        self.clipped = False

    @property
    def fits(self):
        """A picture has begun since the last resize, and all of it that came is within the screen."""
        return self.pictures > 0 and not self.clipped

    def clip(self, why):
        assert self.pictures < 2, why
        self.clipped = True

    def feed(self, text):
        text = self.rest + text
        at = 0
        while at < len(text):
            char = text[at]
            if char == "\x1b":
                match = SEQUENCE.match(text, at)
                if not match and len(text) - at < 12:
                    break  # the rest is still to come
                assert match, f"a sequence that is none of ours: {text[at:at + 20]!r}"
                self.control(*match.groups())
                at = match.end()
                continue
            assert char in "\r\n" or char.isprintable(), f"a control character: {char!r}"
            at += 1
            self.put(char)
        self.rest = text[at:]

    def put(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.y += 1
            if self.y == self.rows:
                if self.modes["alternate"]:
                    self.clip("the picture scrolls")
                self.y -= 1
                self.cells = self.cells[1:] + [[(" ", "")] * self.columns]
        elif self.x == self.columns and not self.modes["wrap"]:
            self.clip("a line is longer than the screen is wide")
        else:
            if self.x == self.columns:
                self.put("\r"), self.put("\n")
            self.cells[self.y][self.x] = (char, self.style)
            self.x += 1

    def control(self, private, numbers, command):
        if private:
            assert numbers in MODES and command in "hl", (numbers, command)
            self.modes[MODES[numbers]] = command == "h"
            self.entered += numbers == "1049" and command == "h"
            return
        if command == "H":
            assert numbers == "", numbers
            self.x = self.y = 0
            self.pictures += 1
            self.clipped = False
        elif command == "K":
            assert numbers == "", numbers
            self.cells[self.y][self.x:] = [(" ", "")] * (self.columns - self.x)
        elif command == "J":
            assert numbers == "2", numbers
            self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]
        elif command == "m":
            assert numbers in ("0", "1", "2", "31", "33"), numbers
            self.style = "" if numbers == "0" else numbers
        else:
            raise AssertionError(f"a sequence that is none of ours: {numbers}{command}")

    def lines(self):
        return ["".join(char for char, _ in row).rstrip() for row in self.cells]

    def text(self):
        return "\n".join(self.lines())

    def styles(self):
        return {style for row in self.cells for char, style in row if style and char != " "}

    def styled(self, style):
        """What is shown in that style, without spaces."""
        return "".join(char for row in self.cells for char, of in row if of == style).strip()


class Terminal:
    """A command on a terminal of its own; what it shows is in `screen`."""

    def __init__(self, *args, columns=120, rows=30, env=None, stdin=None):
        self.master, self.slave = pty.openpty()
        self.screen = Screen(columns, rows)
        self.set_size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.raw = b""
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(env or {})}
        for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR"):
            if name not in (env or {}):
                environment.pop(name, None)
        self.process = subprocess.Popen([*map(str, args)], stdin=self.slave if stdin is None else stdin,
                                        stdout=self.slave, stderr=self.slave, env=environment,
                                        preexec_fn=self.take)

    def take(self):
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)

    def set_size(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns, rows):
        self.pump(0)
        self.screen.resize(columns, rows)
        self.set_size(columns, rows)  # the kernel sends SIGWINCH

    def pump(self, timeout=0.05):
        """Shows what has come."""
        while select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data
            self.screen.feed(data.decode("utf-8", "replace"))
            timeout = 0

    def wait(self, condition, what="the picture", timeout=20):
        """Until condition(screen) holds."""
        end = time.monotonic() + timeout
        while True:
            self.pump()
            value = condition(self.screen)
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come within {timeout} s\n{self.screen.text()}")

    def wait_for(self, text, **options):
        return self.wait(lambda screen: text in screen.text(), what=repr(text), **options)

    def type(self, keys):
        os.write(self.master, keys.encode())

    def is_restored(self):
        """The modes of the screen and of the terminal are what they were."""
        return (self.screen.modes == {"alternate": False, "cursor": True, "wrap": True} and
                self.screen.style == "" and termios.tcgetattr(self.slave) == self.before)

    def end(self, timeout=20):
        """Waits for the command's end; its exit status."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            self.pump(0.01)
            if time.monotonic() > end:
                raise AssertionError(f"no end within {timeout} s\n{self.screen.text()}")
        self.pump(0)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)
