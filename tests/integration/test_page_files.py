"""The page's files as the adapter serves them, and /_status (docs/page.md). What a browser makes of them: tests/page."""
import gzip
import hashlib
import html.parser
import json
import re

import harness

FOLDER = harness.SOURCE / "clients" / "page"
TYPES = {".html": "text/html; charset=UTF-8", ".css": "text/css; charset=UTF-8", ".js": "text/javascript; charset=UTF-8",
         ".svg": "image/svg+xml"}
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
          "require-trusted-types-for 'script'; trusted-types 'none'")


class Markup(html.parser.HTMLParser):
    """What of a document may run, and where it leads."""

    def __init__(self, text):
        super().__init__()
        self.inline, self.links, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in attributes) else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.scripts += [attributes["href"]] if attributes.get("rel") == "modulepreload" else []


class Page(harness.Case):
    @classmethod
    def setUpClass(cls):
        folder = harness.temporary_folder(cls)
        cls.program = harness.up(folder / "data", env={"METRICMQ_API_KEY": "sesame-sesame-sesame"})
        cls.addClassCleanup(cls.program.stop)

    def get(self, path, headers=None, method="GET"):
        return harness.http_get(self.program, path, headers, method)

    def test_each_file_is_served_as_it_is(self):
        self.assertGreater(len(FILES), 15)
        self.assertEqual(len({path.name for path in FILES}), len(FILES))
        for path in FILES:
            with self.subTest(file=path.name):
                status, headers, body = self.get(f"/page/{path.name}")
                self.assertEqual((status, headers["Content-Type"]), (200, TYPES[path.suffix]))
                self.assertEqual(body, path.read_bytes())
                self.assertNotIn("Content-Encoding", headers)
                status, packed, body = self.get(f"/page/{path.name}", {"Accept-Encoding": "gzip"})
                self.assertEqual((status, packed["Content-Encoding"]), (200, "gzip"))
                self.assertEqual(gzip.decompress(body), path.read_bytes())
                self.assertNotEqual(packed["ETag"], headers["ETag"])
                for one in (headers, packed):
                    self.assertEqual((one["Cache-Control"], one["Vary"]), ("no-cache", "Accept-Encoding"))
                    self.assertEqual(one["Content-Security-Policy"], POLICY)
                    self.assertEqual((one["X-Content-Type-Options"], one["Referrer-Policy"]), ("nosniff", "no-referrer"))
                    self.assertNotIn("Set-Cookie", one)

    def test_the_root_is_the_index(self):
        self.assertEqual(self.get("/")[2], (FOLDER / "index.html").read_bytes())
        self.assertEqual(self.get("/")[1]["ETag"], self.get("/page/index.html")[1]["ETag"])

    def test_a_file_that_is_known_is_not_sent_again(self):
        for accepted in ({}, {"Accept-Encoding": "gzip"}):
            tag = self.get("/page/main.js", accepted)[1]["ETag"]
            for none_match in (tag, f'"x", W/{tag}', "*"):
                status, headers, body = self.get("/page/main.js", {"If-None-Match": none_match, **accepted})
                self.assertEqual((status, body, headers["ETag"]), (304, b"", tag))
                self.assertEqual(headers["Content-Security-Policy"], POLICY)
            self.assertEqual(self.get("/page/main.js", {"If-None-Match": '"x"', **accepted})[0], 200)

    def test_head(self):
        get, head = self.get("/page/style.css"), self.get("/page/style.css", method="HEAD")
        self.assertEqual((head[0], head[2]), (200, b""))
        for name in ("Content-Length", "ETag", "Content-Type", "Vary"):
            self.assertEqual(head[1][name], get[1][name])

    def test_names_that_are_none(self):
        for name in ("", "nothing.js", "..", "..%2findex.html", "main.js/x", "MAIN.JS", "main.js%20"):
            self.assertEqual(self.get(f"/page/{name}")[0], 404 if name and "/x" not in name else 401, name)

    def test_files_hold_to_the_policy(self):
        """No script or style within markup, and nothing from elsewhere; all that is named is there."""
        markup = Markup((FOLDER / "index.html").read_text())
        self.assertEqual(markup.inline, [])
        names = {path.name for path in FILES}
        for link in markup.links:
            self.assertRegex(link, r"^(/|#)")
            if link.startswith("/page/"):
                self.assertIn(link.removeprefix("/page/"), names)
        for path in FOLDER.glob("*.js"):
            text = path.read_text()
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://(?!www\.w3\.org/2000/svg)")
            for wanted in re.findall(r"""(?:from|import\()\s*"\./([^"]+)\"""", text):
                self.assertIn(wanted, names, path.name)

    def test_the_library_is_as_it_was_published(self):
        digest = hashlib.sha256((FOLDER / "uplot" / "uPlot.esm.js").read_bytes()).hexdigest()
        self.assertIn(f"`{digest}`", (FOLDER / "uplot" / "README.md").read_text())

    def test_what_the_first_view_imports_is_preloaded(self):
        """Else a browser learns of each module only from the one before."""
        markup, wanted, at = Markup((FOLDER / "index.html").read_text()), set(), ["main.js", "overview.js"]
        while at:
            found = set(re.findall(r'^(?:import|export) .*?from "\./([^"]+)"', (FOLDER / at.pop()).read_text(), re.M | re.S))
            at += found - wanted
            wanted |= found
        self.assertEqual({link.removeprefix("/page/") for link in markup.scripts}, wanted | {"overview.js"})

    def test_the_list_of_endpoints_is_on_it(self):
        text = self.get("/")[2].decode()
        document = json.loads((harness.SOURCE / "clients/http/openapi.json").read_text())
        for path in document["paths"]:
            if path not in ("/", "/page/{file}"):
                self.assertIn(path, text)


class Status(harness.Case):
    def test_status_is_what_the_command_prints(self):
        with harness.up(self.folder / "data") as program:
            status, headers, body = harness.http_get(program, "/_status")
            self.assertEqual((status, headers["Cache-Control"]), (200, "no-store"))
            answer = json.loads(body)
            printed = json.loads(harness.run("status", "--format", "json", "--connect", program.ready["clients"]).out)
            self.assertEqual(answer.keys(), printed.keys())
            for part in answer:
                self.assertEqual(answer[part].keys(), printed[part].keys())
            self.assertEqual(answer["broker"]["services"].keys(), printed["broker"]["services"].keys())
            self.assertEqual(answer["spool"]["jobs"], 0)

    def test_who_does_not_answer_is_null(self):
        with harness.Program("http", "--http", "127.0.0.1:0", "--connect", "tcp://127.0.0.1:9") as program:
            status, _, body = harness.http_get(program, "/_status")
            self.assertEqual((status, json.loads(body)), (200, {"broker": None, "spool": None, "store": None}))


if __name__ == "__main__":
    harness.main()
