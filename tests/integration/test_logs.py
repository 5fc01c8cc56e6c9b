"""docs/logs.md has every line that the program can log, with its levels and fields, and no other."""
import collections
import json
import re
import unittest

import harness

DOCUMENT = (harness.SOURCE / "docs" / "logs.md").read_text()
ROOMS = ("lib", "broker", "workers", "clients")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
ALWAYS = {"ts", "level", "role", "msg"}


def arguments(text, at):
    """The arguments of the call whose bracket opens before `at`, as text."""
    found, depth, begin = [], 0, at
    while depth >= 0:
        literal = LITERAL.match(text, at)
        if literal:
            at = literal.end()
            continue
        if depth == 0 and text[at] in ",)":
            found.append(text[begin:at])
            begin = at + 1
        depth += (text[at] in "({") - (text[at] in ")}")
        at += 1
    return found


def texts(argument):
    """The texts that an argument may be: one, or those of `a ? "b" : "c"`."""
    joined = re.sub(r'"\s+"', "", argument)
    return LITERAL.findall(joined)


def messages(text, at, argument):
    """Those of a call; where it only hands a parameter on, those of its function's callers in the same file."""
    if '"' in argument:
        return texts(argument)
    function = re.findall(r"^\w[\w *]*?(\w+)\([^;{}]*\)\n\{", text[:at], re.M)[-1]
    calls = [found.end() for found in re.finditer(rf"(?<![\w*]){function}\(", text)]
    return [message for call in calls for one in arguments(text, call) if '"' in one for message in texts(one)]


def normal(message):
    return re.sub(r"\d+|%d", "N", message)


def lines_of(text):
    """{(message, levels, fields)} of a source file."""
    for found in re.finditer(r"\bmmq_log\(", text):
        level, message, *fields = arguments(text, found.end())
        levels = frozenset(name.lower() for name in re.findall(r"MMQ_(DEBUG|INFO|WARN|ERROR)\b", level))
        keys = [re.match(r'\s*MMQ_(?:S|SN|I)\(\s*"(\w+)"', field).group(1) for field in fields]
        by_level = level.split("?")[0].strip() == message.split("?")[0].strip()  # both say the same by the same condition
        said = messages(text, found.start(), message)
        assert said, f"what does this log? {text[found.start():found.start() + 80]}"
        for number, one in enumerate(said):
            mine = frozenset([re.findall(r"MMQ_(\w+)", level)[number].lower()]) if by_level and len(said) > 1 else levels
            yield normal(one), mine, frozenset(keys)


def sources():
    for room in ROOMS:
        for path in sorted((harness.SOURCE / room).rglob("*.c")):
            if path.name != "log.c":
                yield path, path.read_text()


def tables():
    """(the fields' table, [(message, levels, fields)] of the others)."""
    fields, lines = [], []
    for row in re.findall(r"^\| (?!message|field|---)(.*) \|$", DOCUMENT, re.M):
        cells = [cell.strip() for cell in row.split(" | ")]
        if len(cells) == 2:
            fields.append(cells[0].strip("`"))
        else:
            message = re.fullmatch(r"(`+)(.*)\1", cells[0]).group(2)
            lines.append((message, frozenset(cells[1].split(", ")), frozenset(re.findall(r"`(\w+)`", cells[2]))))
    return fields, lines


class Logs(unittest.TestCase):
    maxDiff = None

    def test_every_line_is_documented(self):
        found = collections.Counter(line for _, text in sources() for line in set(lines_of(text)))
        _, told = tables()
        self.assertGreater(len(told), 60)
        self.assertEqual(set(found) - set(told), set(), "in the sources, not in docs/logs.md")
        self.assertEqual(set(told) - set(found), set(), "in docs/logs.md, not in the sources")
        self.assertEqual([line for line in told if told.count(line) > 1], [])

    def test_every_field_is_explained(self):
        fields, told = tables()
        used = {key for _, _, keys in told for key in keys}
        self.assertEqual(set(fields), used | ALWAYS)
        self.assertEqual(fields[4:], sorted(fields[4:]))
        self.assertEqual(set(fields[:4]), ALWAYS)

    def test_what_operators_look_for_is_there(self):
        """Messages that docs/operations.md names, all or their beginning, are some."""
        text = (harness.SOURCE / "docs" / "operations.md").read_text()
        spans = {" ".join(span.split()) for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"(?m)^    .*$", "", text))}
        words = {span for span in spans if re.fullmatch(r"[a-z:' ]+ [a-z:' ]+", span) and not span.startswith(
            ("metricmq ", "systemctl ", "promtool ", "severity: "))}
        self.assertGreater(len(words), 9)
        told = {message for message, _, _ in tables()[1]}
        self.assertEqual({word for word in words if not any(word in message for message in told)}, set())

    def test_roles_are_those_of_the_sources(self):
        roles = {role for _, text in sources() for role in re.findall(r'mmq_log_role\("(\w+)"\)', text)}
        row = re.search(r"^\| `role` \|.*$", DOCUMENT, re.M).group(0)
        self.assertEqual(set(re.findall(r"`(\w+)`", row)) - {"role"}, roles)

    def test_the_check_finds_what_is_there(self):
        text = ('static void say(const char *message)\n{\n    mmq_log(MMQ_INFO, message, MMQ_I("a", f(1, 2)));\n}\n'
                'void x(void)\n{\n    say("one (1)");\n    say("two, " "too");\n'
                '    mmq_log(bad ? MMQ_WARN : MMQ_INFO, bad ? "b" : "g", MMQ_S("k", bad ? "x" : ","));\n'
                '    mmq_log(n ? MMQ_WARN : MMQ_DEBUG, "both");\n}\n')
        with self.assertRaises(AssertionError):
            list(lines_of('void x(void)\n{\n    const char *y = nothing();\n    mmq_log(MMQ_INFO, y);\n}\n'))
        self.assertEqual(set(lines_of(text)), {
            ("one (N)", frozenset({"info"}), frozenset("a")), ("two, too", frozenset({"info"}), frozenset("a")),
            ("b", frozenset({"warn"}), frozenset("k")), ("g", frozenset({"info"}), frozenset("k")),
            ("both", frozenset({"warn", "debug"}), frozenset())})


class Lines(harness.Case):
    def test_what_a_run_says(self):
        """Lines of a real run, as JSON, are those of the tables."""
        _, told = tables()
        with harness.up(self.folder / "data", "--log-format", "json", "--log-level", "debug") as program:
            harness.http_get(program, "/_models", {"X-Request-Id": "a\"b"})
            harness.http_get(program, "/_models/nobody/data", {"X-Request-Id": "ours"})
        entries = [json.loads(line) for line in program.errors().splitlines()]
        self.assertGreater(len(entries), 8)
        for entry in entries:
            line = (normal(entry["msg"]), frozenset(entry) - ALWAYS)
            self.assertTrue(any((message, fields) == line and entry["level"] in levels for message, levels, fields in told), entry)
        self.assertEqual({entry["msg"] for entry in entries if entry.get("trace") == "ours"}, {"request", "request answered"})
        self.assertLessEqual({entry.get("role") for entry in entries}, {None, "broker", "worker", "write", "feedback", "http"})


if __name__ == "__main__":
    harness.main()
