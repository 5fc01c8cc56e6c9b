"""Every command that README, the documents and the manual show is run, or says why not (tests/blocks.py)."""
import concurrent.futures
import pathlib
import re
import unittest

import blocks
import harness

DOCUMENTS = sorted([*harness.SOURCE.glob("*.md"), *harness.SOURCE.glob("docs/*.md")])
RUN = {"sh", "python"}
# What an example of the manual needs, that is not told there.
GIVEN = {"broker": "metricmq keygen --curve keys server", "http": "metricmq key ours --rights read --api-keys keys",
         "migrate": "metricmq backup old.db --data metricmq-data",
         "restore": "metricmq backup saved.db --data metricmq-data"}


def blocks_of_documents():
    for path in DOCUMENTS:
        yield from blocks.find(str(path.relative_to(harness.SOURCE)), path.read_text())


def blocks_of_manual():
    """The examples of `--help`: (command, blocks)."""
    for name in re.findall(r"^  (\w[\w-]*)", harness.run("--help").out.split("commands:\n")[1], re.M):
        text = harness.run("help", name).out.partition("\nexamples:\n")[2]
        lines = re.findall(r"^  (metricmq .*)", text, re.M)
        given = [blocks.Block(f"help {name}", 0, "sh", [GIVEN[name]], None)] if name in GIVEN else []
        yield name, given + [blocks.Block(f"help {name}", number, "sh", [line], None) for number, line in enumerate(lines)]


class Words(unittest.TestCase):
    def test_marks_have_a_block_below(self):
        for path in DOCUMENTS:
            text = path.read_text()
            marks = len(re.findall(r"^<!-- not run", text, re.M))
            kept = [block for block in blocks.find(path.name, text) if block.not_run]
            self.assertEqual(marks, len(kept), path.name)
            for block in kept:
                self.assertIn(block.kind, RUN, f"{block} would not be run without its mark either")

    def test_what_they_name_exists(self):
        count = 0
        for block in blocks_of_documents():
            if block.kind == "sh":
                with self.subTest(str(block)):
                    self.assertEqual(blocks.faults_of(block), [])
                    count += 1
        self.assertGreater(count, 15)

    def test_inline_commands_exist(self):
        """`metricmq COMMAND --option` in running text."""
        count = 0
        for path in DOCUMENTS:
            for words in re.findall(r"`(?:\$ )?(metricmq [a-z][^`]*)`", path.read_text()):
                block = blocks.Block(path.name, 0, "sh", [re.sub(r"[\[\]|].*", "", words)], None)
                with self.subTest(path.name, words=words):
                    self.assertEqual(blocks.faults_of(block), [])
                    count += 1
        self.assertGreater(count, 15)

    def test_the_check_finds_what_is_missing(self):
        for line, fault in (("metricmq qurey", "metricmq qurey"), ("metricmq query --threads 3", "--threads"),
                            ("ops/nothing", "ops/nothing"), ("ops/fuzz --never", "--never"),
                            ("a=b metricmq up --sore x", "--sore"), ("true; metricmq up | metricmq x", "metricmq x")):
            self.assertEqual(blocks.faults_of(blocks.Block("x", 1, "sh", [line], None)), [fault])

    def test_blocks_are_found(self):
        text = ("a\n\n    metricmq up\n    more\n\n    still\n\nb\n\n<!-- not run: why -->\n\n    curl x\n\n    no ──▶ shell\n"
                "\n```sh\nls\n```\n<!-- not run: for ever -->\n```python\nx\n```\n- item\n    not a block\n\n```\nfoo: bar\n```\n")
        found = blocks.find("x", text)
        self.assertEqual([(block.line, block.kind, len(block.lines), block.not_run) for block in found],
                         [(3, "sh", 4, None), (12, "text", 3, "why"), (16, "sh", 1, None), (20, "python", 1, "for ever"),
                          (26, "text", 1, None)])

    def test_who_lives_alone(self):
        for line, alone in (("metricmq prune --before 2026-01-01", True), ("metricmq prune --dry-run --before 1", False),
                              ("metricmq query prune", False), ("true && metricmq prune UID", True), ("metricmq load --rate 1", True)):
            self.assertEqual(blocks.is_unsociable(blocks.Block("x", 1, "sh", [line], None)), alone, line)

    def test_forms(self):
        for shown, said, same in (('{"n": 222, "x": ...}', '{"n": -1.5, "x": [1, 2]}', True), ("up 3 s", "up 12.5 s", True),
                                  ("mmq_dc5d8b62...   # once", "mmq_0123456789abcdef", True), ("key=a", "key=b", False),
                                  ("2013-08-15 21:34:00", "2026-01-02 00:00:00", True), ("rows", "rows more", False)):
            self.assertEqual(bool(re.fullmatch(blocks.form_of(shown), said)), same, (shown, said))


@unittest.skipIf(harness.SLOW, "the release build's test is enough: what runs here runs in other tests too")
class Blocks(harness.Case):
    maxDiff = None

    def test_all_that_are_shown_run(self):
        house = blocks.House(self.folder)
        self.addCleanup(house.close)
        sets = dict(blocks_of_manual())
        for block in blocks_of_documents():
            sets.setdefault(block.document, []).append(block)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            counts = list(pool.map(lambda pair: self.run_set(house, *pair), sets.items()))
        self.assertEqual([fault for _, _, faults in counts for fault in faults], [])
        run, kept = sum(count[0] for count in counts), sum(count[1] for count in counts)
        print(f"{run} blocks run, {kept} not run for the reasons that they give", flush=True)
        self.assertGreater(run, 40)

    def test_what_is_wrong_is_found(self):
        house = blocks.House(self.folder)
        self.addCleanup(house.close)
        folder = self.folder / "wrong"
        house.prepare(folder)
        for lines, said in ((["metricmq query nobody --rowid x"], "exit 2"), (["false", "true"], "exit 1"),
                            (["metricmq broker --bind tcp://nowhere"], "nowhere"),
                            (["$ metricmq models cpu.1 --format csv", "uid,nothing"], "it does not say"),
                            (["$ echo 5 rows", "5 rows", "$ echo", "more"], "it does not say")):
            with self.assertRaisesRegex(AssertionError, f"(?s)^x:1: .*{said}"):
                house.run(blocks.Block("x", 1, "sh", lines, None), folder)
        house.run(blocks.Block("x", 1, "sh", ["$ echo 6 rows; echo more", "5 rows  # five"], None), folder)

    def run_set(self, house, name, found):
        """(how many were run, how many were not, what was wrong)"""
        folder = self.folder / re.sub(r"\W", "-", name)
        if any(blocks.is_unsociable(block) for block in found):
            (self.folder / f"{folder.name}-house").mkdir()
            house = blocks.House(self.folder / f"{folder.name}-house")
            self.addCleanup(house.close)
        house.prepare(folder)
        run, kept, faults = 0, 0, []
        for block in found:
            if block.kind not in RUN:
                continue
            if block.not_run:
                kept += 1
                continue
            try:
                house.run(block, folder)
            except Exception as error:  # of any kind: the others are told of too
                faults.append(str(error))
            run += 1
        return run, kept, faults


if __name__ == "__main__":
    harness.main()
