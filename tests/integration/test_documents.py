"""Documents name tests as FILE::NAME or FILE::CLASS::NAME: each of them must exist and run, or the document is a lie."""
import ast
import functools
import pathlib
import re
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = SOURCE / "tests"
NAMED = re.compile(r"([\w./-]+\.(?:py|c))::(\w+(?:::\w+)?)")
DOCUMENTS = sorted([*SOURCE.glob("*.md"), *SOURCE.glob("docs/*.md")])


@functools.cache
def file_of(name):
    """The one file below tests/ whose path ends so."""
    found = [path for path in TESTS.rglob(name.rsplit("/", 1)[-1]) if path.as_posix().endswith(f"/{name}")]
    if len(found) != 1:
        raise AssertionError(f"{name} is the name of {len(found)} files")
    return found[0]


@functools.cache
def tests_in(path):
    """Names, and CLASS::NAME in Python, of what runs as a test: its runner finds or lists it."""
    text = path.read_text()
    if path.suffix == ".c":
        listed = re.findall(r"\b(?:TEST|cmocka_unit_test\w*)\(\s*(\w+)", text)
        return {name for name in listed if re.search(rf"^static void {name}\(void \*\*", text, re.M)}
    names = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name.startswith("test_"):
                    names |= {method.name, f"{node.name}::{method.name}"}
        elif isinstance(node, ast.FunctionDef) and any(
                isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "case" for mark in node.decorator_list):
            names.add(node.name)  # of the fault set
    return names


def prose_of(text):
    """Without code."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def links_of(text):
    """Where links within the project lead."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose_of(text)))
    return [target for target in found if not re.match(r"\w+:", target)]


def anchors_of(text):
    """The anchors that forges make of headings; of two that are alike the second has a number."""
    names = []
    for heading in re.findall(r"^#+ (.*)$", prose_of(text), re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.append(name if name not in names else f"{name}-{names.count(name)}")
    return set(names)


class Documents(unittest.TestCase):
    def test_tests_that_they_name_exist(self):
        count = 0
        for document in DOCUMENTS:
            for file, name in NAMED.findall(document.read_text()):
                with self.subTest(document=document.name, test=f"{file}::{name}"):
                    self.assertIn(name, tests_in(file_of(file)))
                    count += 1
        self.assertGreater(count, 60)

    def test_links_lead_somewhere(self):
        """Files that they name are there, and so are headings."""
        count = 0
        for document in DOCUMENTS:
            for target in links_of(document.read_text()):
                path, _, heading = target.partition("#")
                file = (document.parent / path).resolve() if path else document
                with self.subTest(document=document.name, target=target):
                    self.assertTrue(file.exists())
                    self.assertTrue(file.is_relative_to(SOURCE))
                    self.assertTrue(not heading or heading in anchors_of(file.read_text()))
                    count += 1
        self.assertGreater(count, 30)

    def test_readme_leads_to_every_document(self):
        found = set(links_of((SOURCE / "README.md").read_text()))
        self.assertEqual({f"docs/{path.name}" for path in SOURCE.glob("docs/*.md")} - found, set())

    def test_links_are_read(self):
        text = "[a](b.md) `[c](d)` [e](https://f) [g](#h-i)\n```\n[j](k)\n```\n\n    [l](m)\n"
        self.assertEqual(links_of(text), ["b.md", "#h-i"])
        self.assertEqual(anchors_of("# A `b.c`, D-e\n## A `b.c`, D-e\n```\n# no\n```\n"), {"a-bc-d-e", "a-bc-d-e-1"})

    def test_each_rule_has_a_test_or_a_reason(self):
        text = (SOURCE / "docs" / "protocol.md").read_text()
        table = text.split("## RFC 18, rule by rule")[1].split("RFC 8 (MMI)")[0]
        rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
        self.assertGreater(len(rows), 40)
        for row in rows:
            rule, shown = row[-2:]
            self.assertTrue(NAMED.search(shown) or shown.startswith("no: "), rule)

    def test_the_check_finds_what_is_missing(self):
        self.assertNotIn("test_nothing", tests_in(file_of("test_worker.c")))
        self.assertNotIn("Mmi::test_nothing", tests_in(file_of("interop/test_mdp_broker.py")))
        with self.assertRaises(AssertionError):
            file_of("test_nowhere.c")


if __name__ == "__main__":
    unittest.main(verbosity=2)
