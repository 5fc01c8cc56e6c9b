"""Debian's Chromium, headless, by the plain WebDriver protocol (W3C) that chromedriver speaks.

One Browser is one Chromium with an empty profile; it reaches nothing but what a test opens. Nothing sleeps:
`wait` polls a script until it is true.
"""
import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile

import harness

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's key of an element
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--hide-scrollbars", "--force-device-scale-factor=1", "--lang=en", "--accept-lang=en"]
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014",
        "Down": "\ue015", "Home": "\ue011", "End": "\ue010", "PageDown": "\ue00f", "Backspace": "\ue003",
        "Shift": "\ue008", "Control": "\ue009"}


class Browser:
    def __init__(self, width=1280, height=800, dark=False, downloads=None):
        self.profile = tempfile.TemporaryDirectory(prefix="metricmq-browser-", ignore_cleanup_errors=True)
        self.process = self.session = self.connection = None
        try:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.start_driver(), timeout=120)
            flags = [*FLAGS, f"--user-data-dir={self.profile.name}/profile", f"--window-size={width},{height}"]
            options = {"binary": CHROMIUM, "args": flags}
            if downloads:
                options["prefs"] = {"download.default_directory": str(downloads)}
            made = self.ask("POST", "", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
            self.session = made["sessionId"]
            self.emulate(width, height, dark)
        except BaseException:
            self.close()
            raise

    def start_driver(self):
        """Its port. It takes one that is free in IPv4 and ends if somebody has that in IPv6: then it is started again."""
        said = b""
        for _ in range(5):
            self.process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                            env={**os.environ, "HOME": self.profile.name, "TZ": "Europe/Berlin"})
            for line in self.process.stdout:
                found = re.search(rb"successfully on port (\d+)", line)
                if found:
                    return int(found.group(1))
                said += line
            self.process.wait()
            self.process.stdout.close()
        raise AssertionError(f"chromedriver does not start: {said.decode(errors='replace')[-500:]}")

    def ask(self, method, path, body=None):
        """One command; what its answer holds."""
        target = "/session" + (f"/{self.session}{path}" if self.session else path)
        self.connection.request(method, target, None if body is None else json.dumps(body),
                                {"Content-Type": "application/json"})
        value = json.loads(self.connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def cdp(self, command, **params):
        """A command of Chromium's own protocol, for what the standard has not."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def emulate(self, width, height, dark=False, touch=False):
        """The page is so many CSS pixels wide and high."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """What a function body returns; it sees its arguments as `arguments`. A promise is waited for."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, *arguments, timeout=20.0, what=None):
        """Polls until the script's value is true; returns it."""
        try:
            return harness.wait_until(lambda: self.run(script, *arguments), timeout, what or script)
        except AssertionError as error:
            raise AssertionError(f"{error}\npage: {self.text('body')[:2000]}\nlog: {self.log()}") from None

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click", {})

    def text(self, selector):
        """As it is in the document, shown or not."""
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def type(self, selector, text):
        """Into a field, in place of what was there."""
        element = self.find(selector)
        self.ask("POST", f"/element/{element}/clear", {})
        if max(text, default="") <= "\uffff":
            self.ask("POST", f"/element/{element}/value", {"text": text})
        else:  # no key has that; it is chosen from a list, or pasted
            self.run("document.querySelector(arguments[0]).focus(); document.execCommand('insertText', false, arguments[1])",
                     selector, text)

    def press(self, *keys):
        """One after the other, to what has the focus; "Shift+Left" holds the first."""
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in key.split("+")] if len(key) > 1 else [key]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def drag(self, start, end, pointer="mouse", shift=False):
        """From one point of the page to another, in CSS pixels."""
        keys = [{"type": "keyDown", "value": KEYS["Shift"]}] if shift else [{"type": "pause"}]
        moves = [{"type": "pointerMove", "x": start[0], "y": start[1]}, {"type": "pointerDown", "button": 0},
                 {"type": "pointerMove", "x": end[0], "y": end[1], "duration": 60}, {"type": "pointerUp", "button": 0}]
        keys += [{"type": "pause"}] * (len(moves) - 1)
        keys += [{"type": "keyUp", "value": KEYS["Shift"]}] if shift else [{"type": "pause"}]
        self.ask("POST", "/actions", {"actions": [
            {"type": "key", "id": "keys", "actions": keys},
            {"type": "pointer", "id": pointer, "parameters": {"pointerType": pointer},
             "actions": [*moves, {"type": "pause"}]}]})

    def wheel(self, point, turn):
        self.ask("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [
            {"type": "scroll", "x": point[0], "y": point[1], "deltaX": 0, "deltaY": turn}]}]})

    def box(self, selector):
        """Its place on the screen: x, y, width, height."""
        return self.run("const box = document.querySelector(arguments[0]).getBoundingClientRect();"
                        "return [box.x, box.y, box.width, box.height].map(Math.round)", selector)

    def log(self):
        """What the console got since the last look: complaints of the policy, errors of scripts."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def close(self):
        if self.session:
            try:
                self.ask("DELETE", "")
            except (AssertionError, OSError):
                pass
            self.session = None
        if self.connection:
            self.connection.close()
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process.stdout.close()
        self.profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
