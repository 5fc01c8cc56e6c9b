"""The page in a real browser (docs/page.md): what is seen, clicked, pressed and typed. Screenshots for a person to look
at go into the build's folder, page/."""
import calendar
import csv
import json
import os
import pathlib
import re
import tarfile
import time
import unittest

import harness
from webdriver import CHROMIUM, DRIVER, Browser

SHOTS = pathlib.Path(harness.PROGRAM).resolve().parent / "page"
BEGIN = calendar.timegm((2020, 1, 1, 0, 0, 0))
BROWSER = (DRIVER and CHROMIUM) or os.environ.get("METRICMQ_ENGINES")  # where all is to be there, nothing is skipped
KNOWN = ("nyc_taxi", "machine_temperature_system_failure", "ambient_temperature_system_failure")
HOSTILE = "<img src=x onerror=alert(1)>&amp;"


def stamp(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def write_csv(path, rows):
    path.write_text("timestamp,value,anomaly_score\n" + "".join(
        f"{stamp(at)},{value},{'' if score is None else score}\n" for at, value, score in rows))
    return path


def spiky(count=2000):
    """A wave of 5 minutes a row: row 1200 is an anomaly, an hour is missing, and the last 100 rows have no score yet."""
    rows = []
    for i in range(count):
        score = None if i >= count - 100 else 0.97 if i == 1200 else 0.42 if i == 700 else 0.03
        rows.append((BEGIN + 300 * i + (3600 if i > 400 else 0), 90 if i == 1200 else 50 + (i % 96) / 10, score))
    return rows


def contrast(one, other):
    """Of two colours #rrggbb: 1 to 21."""
    def light(color):
        parts = [int(color[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    dark, bright = sorted((light(one), light(other)))
    return bright / dark


class Case(harness.Case):
    """One browser for all tests of a class; what its console says must be nothing of scripts or policies."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.home = harness.temporary_folder(cls)

    def tearDown(self):
        bad = [line for line in self.browser.log() if re.search(r"Content Security Policy|Uncaught|\.js \d|violates", line)]
        self.assertEqual(bad, [])

    @classmethod
    def start(cls, *args, name="data", **options):
        program = harness.up(cls.home / name, *args, **options)
        cls.addClassCleanup(program.stop)
        return program

    @classmethod
    def load(cls, program, uid, name, rows):
        harness.run("import", "--connect", program.ready["clients"], "--uid", uid, "--name", name, "--server", f"{uid}.example",
                    write_csv(cls.home / f"{uid}.csv", rows))

    def open(self, fragment="#/", program=None):
        """From nothing, so that no view is left from a test before."""
        self.browser.open("about:blank")
        self.browser.open((program or self.program).ready["http"] + "/" + fragment)

    def names(self):
        """Of the rows in the document, in order."""
        return self.browser.run("return [...document.querySelectorAll('.row')].sort((a, b) => a.dataset.index - b.dataset.index)"
                                ".map((row) => row.querySelector('a')?.textContent)")

    def wait_names(self, names):
        self.browser.wait("return document.querySelector('.count')?.textContent.match(/metric/)")
        harness.wait_until(lambda: self.names() == names, what=f"{names} (is {self.names()})")

    def wait_chart(self):
        self.browser.wait("return performance.getEntriesByName('drawn').length > 0 && document.querySelector('#rows tbody tr')")

    def wait_rows(self, pattern):
        """Until the chart's sentence is this; the browser's own name for a match."""
        return self.browser.wait("return document.querySelector('#what')?.textContent.match(new RegExp(arguments[0]))", pattern)

    def range(self):
        """[from, to] of the fragment, in seconds; None: all."""
        return self.browser.run("const values = new URLSearchParams(location.hash.split('?')[1] ?? '');"
                                "return values.get('from') && ['from', 'to'].map((key) => Date.parse(values.get(key) + 'Z') / 1000)")

    def wait_range(self, right):
        """A gesture is in the address when it is over."""
        harness.wait_until(lambda: right(*(self.range() or (0, 0))), what=f"another view (is {self.range()})")

    def assert_fits(self):
        wide = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(*wide)


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
class Views(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.program = cls.start()
        cls.load(cls.program, "spiky", "cpu.load", spiky())
        cls.load(cls.program, "quiet", "disk.free", [(BEGIN + 600000 + 60 * i, i % 7, 0.01) for i in range(500)])
        cls.load(cls.program, "fresh", HOSTILE, [(BEGIN + 600000 + 60 * i, i, None) for i in range(500)])
        cls.load(cls.program, "long", "long", [(BEGIN + 5 * i, round(i % 997 / 7, 3), 0.02) for i in range(100000)])

    def tearDown(self):
        super().tearDown()
        self.browser.emulate(1280, 800)

    def test_overview(self):
        self.open()
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])
        self.browser.wait("return document.querySelectorAll('.row svg').length === 4")
        strips = self.browser.run("return [...document.querySelectorAll('.row')].map((row) => row.querySelector('svg').ariaLabel)")
        self.assertRegex(strips[0], r"^greatest score 0\.97 at 2020-01-05 .*; 1 of 60 slices high$")
        self.assertEqual(strips[3], "no scores in this window")
        self.assertEqual(self.browser.count(".row .bar.high"), 1)
        self.assertEqual(self.browser.text(".row[data-index='0'] .server"), "spiky.example")
        self.assertEqual(self.browser.text(".row[data-index='0'] .last .time"), stamp(spiky()[-1][0]))
        self.browser.screenshot(SHOTS / "overview-1280.png")
        self.browser.emulate(360, 740)
        self.assert_fits()
        self.browser.screenshot(SHOTS / "overview-360.png")
        for width, height, opened in ((360, 740, False), (360, 740, True), (640, 320, False), (1280, 800, True)):
            self.browser.emulate(width, height)
            self.browser.run("document.querySelector('footer details').open = arguments[0]", opened)
            bottom, top = self.browser.run("return [document.querySelector('.list').getBoundingClientRect().bottom,"
                                           " document.querySelector('footer').getBoundingClientRect().top]")
            self.assertLessEqual(bottom, top, (width, height, opened))  # nothing lies over the list

    def test_windows_end_at_the_newest_row(self):
        self.open("#/?window=day")
        self.wait_names(["cpu.load", "disk.free", HOSTILE, "long"])
        self.browser.wait("return document.querySelector('.row[data-index=\"3\"]')?.textContent.includes('no rows')")
        self.browser.click("label:has(#window-all)")
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])
        self.assertEqual(self.browser.run("return location.hash"), "#/")

    def test_search_filter_and_keyboard(self):
        self.open()
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])
        self.browser.press("/")
        self.assertEqual(self.browser.run("return document.activeElement.id"), "search")
        for key in "QUIET exa":
            self.browser.press(key)
        self.wait_names(["disk.free"])
        self.assertIn("q=QUIET+exa", self.browser.run("return location.hash"))
        self.assertIn("1 of 4 metrics", self.browser.text(".count"))
        self.open("#/?level=high")
        self.wait_names(["cpu.load"])
        self.open("#/")
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])
        self.browser.press("/", "Down", "Down", "Down", "Up", "End", "Home", "Down")
        self.assertEqual(self.browser.run("return document.activeElement.textContent"), "long")
        self.browser.press("Enter")
        self.browser.wait("return document.querySelector('.detail h1')?.textContent === 'long'")
        self.browser.run("history.back()")
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])

    def test_the_way_back_leads_to_what_was_left(self):
        self.open("#/?window=day&q=exam")
        self.wait_names(["cpu.load", "disk.free", HOSTILE, "long"])
        self.browser.press("/", "Down", "Down")
        for back in ("document.querySelector('.back').click()", "history.back()"):
            self.browser.press("Enter")
            self.browser.wait("return document.querySelector('.detail h1')?.textContent === 'disk.free'")
            self.browser.run(back)
            self.wait_names(["cpu.load", "disk.free", HOSTILE, "long"])
            self.assertEqual(self.browser.run("return location.hash"), "#/?window=day&q=exam")
            self.assertEqual(self.browser.run("return document.activeElement.textContent"), "disk.free")

    def test_detail(self):
        self.open("#/metric/spiky")
        self.wait_chart()
        self.wait_rows("^2000 rows in view, each a point$")
        self.assertEqual(self.browser.count("#chart canvas"), 2)
        self.assertIn("greatest score 0.97", self.browser.text(".facts"))
        self.assertIn("The first 100 of 2000 rows", self.browser.text("#rows caption"))
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('#rows tbody tr:first-child td')].map((td) => td.textContent)"),
                         ["2020-01-01 00:00:00", "50", "0.03", "1"])
        self.browser.screenshot(SHOTS / "detail-1280.png")
        self.browser.emulate(1280, 800, dark=True)
        self.browser.screenshot(SHOTS / "detail-dark.png")
        self.browser.emulate(360, 740)
        self.assert_fits()
        self.browser.screenshot(SHOTS / "detail-360.png")

    def test_rows_of_a_selection(self):
        self.open("#/metric/long?from=2020-01-02T00:00:00&to=2020-01-02T12:00:00")
        self.wait_rows("^8641 rows in view")
        self.browser.wait("return document.querySelectorAll('#rows tbody tr').length === 100")
        self.browser.click(".below > button")
        self.browser.wait("return document.querySelectorAll('#rows tbody tr').length === 400")
        self.assertEqual(self.browser.text("#rows tbody tr td"), "2020-01-02 00:00:00")
        self.assertEqual(self.browser.run("return document.querySelector('#from').value"), "2020-01-02T00:00")

    def test_csv_is_what_the_adapter_gives(self):
        self.browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.folder))
        self.open("#/metric/long?from=2020-01-02T00:00:00&to=2020-01-02T12:00:00")
        self.wait_rows("^8641 rows in view")
        self.browser.click("#csv")
        self.browser.wait("return document.querySelector('.below .progress')?.textContent.includes('saved')")
        file = self.folder / "long.csv"
        wanted = harness.http_get(self.program, "/_models/long/data?anomaly=-1&from=2020-01-02&to=2020-01-02+12:00:00",
                                  {"Accept": "text/csv"})[2]
        harness.wait_until(lambda: file.exists() and file.read_bytes() == wanted, what="the file")
        self.assertEqual(len(wanted.splitlines()), 8642)

    def test_zoom_by_mouse_keyboard_and_buttons(self):
        self.open("#/metric/spiky")
        self.wait_chart()
        ends = spiky()[0][0], spiky()[-1][0]
        left, top, width, height = self.browser.box(".u-over")
        second = (ends[1] - ends[0]) / width
        self.browser.drag((left + width // 4, top + 50), (left + width // 2, top + 60))
        self.browser.wait("return location.hash.includes('from=')")
        begin, end = self.range()
        self.assertAlmostEqual(begin, ends[0] + width // 4 * second, delta=3 * second)
        self.assertAlmostEqual(end, ends[0] + width // 2 * second, delta=3 * second)
        self.wait_rows(r"^\d+ rows in view")
        harness.wait_until(lambda: "2000" not in self.browser.text("#what"), what="rows of the selection")
        count = int(self.browser.text("#what").split()[0])
        self.assertEqual(count, sum(begin <= row[0] <= end for row in spiky()))
        self.browser.run("document.querySelector('#chart').focus()")
        self.browser.press("Right")
        self.wait_range(lambda first, last: abs(first - begin - (end - begin) / 4) <= 2)
        self.browser.press("Shift+Left", "+")
        self.wait_range(lambda first, last: abs(last - first - (end - begin) / 2) <= 3)
        self.browser.press("End")
        self.wait_range(lambda first, last: last == ends[1])
        self.browser.press("Home")
        self.wait_range(lambda first, last: first == ends[0])
        self.browser.press("0")
        harness.wait_until(lambda: self.range() is None, what="all")
        self.wait_rows("^2000 rows in view")
        self.browser.click("button[aria-label='Zoom in']")
        self.wait_range(lambda first, last: abs(last - first - (ends[1] - ends[0]) / 2) <= 3)
        self.browser.wheel((left + width // 2, top + 50), -200)  # the chart has not the focus: the page's
        self.assertAlmostEqual(self.range()[1] - self.range()[0], (ends[1] - ends[0]) / 2, delta=3)
        self.browser.run("scrollTo(0, 0); document.querySelector('#chart').focus({preventScroll: true})")
        self.browser.wheel((left + width // 2, top + 50), -200)
        harness.wait_until(lambda: self.range()[1] - self.range()[0] < (ends[1] - ends[0]) * 0.45, what="zoom by the wheel")
        begin, end = self.range()
        self.browser.drag((left + 300, top + 50), (left + 400, top + 50), shift=True)
        harness.wait_until(lambda: self.range()[0] < begin, what="pan by Shift and the mouse")
        self.assertAlmostEqual(self.range()[1] - self.range()[0], end - begin, delta=2)

    def test_pan_and_pinch_by_touch(self):
        self.browser.emulate(360, 740, touch=True)
        self.open("#/metric/spiky?from=2020-01-03T00:00:00&to=2020-01-04T00:00:00")
        self.wait_chart()
        left, top, width, height = self.browser.box(".u-over")
        begin, end = self.range()
        self.browser.run("window.written = 0; const write = history.replaceState;"
                         "history.replaceState = function (...all) { window.written++; return write.apply(this, all); }")
        def touch(kind, *points):
            self.browser.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": top + 40, "id": i}
                                                                                  for i, x in enumerate(points)])
        touch("touchStart", left + 200)
        for x in (190, 160, 130, 100):
            touch("touchMove", left + x)
        touch("touchEnd")
        harness.wait_until(lambda: self.range()[0] > begin, what="pan by touch")
        self.assertEqual(self.range()[1] - self.range()[0], end - begin)
        touch("touchStart", left + 100, left + 150)
        for far in (10, 30, 50):
            touch("touchMove", left + 100 - far, left + 150 + far)
        touch("touchEnd")
        harness.wait_until(lambda: self.range()[1] - self.range()[0] < (end - begin) / 2, what="zoom by touch")
        self.assertLess(self.browser.run("return window.written"), 5)  # 8 moves: browsers allow but some three a second

    def test_zoom_reaches_single_rows(self):
        self.open("#/metric/long")
        self.wait_rows("^100000 rows in view; each point sums up")
        self.browser.run("document.querySelector('#chart').focus()")
        for _ in range(6):
            self.browser.press("+")
        self.wait_rows("rows in view, each a point$")
        self.browser.wait("return document.querySelectorAll('#rows tbody tr').length > 50")

    def pick(self, first, last):
        self.browser.run("for (const [id, value] of [['from', arguments[0]], ['to', arguments[1]]]) {"
                         " const field = document.getElementById(id); field.value = value; field.dispatchEvent(new Event('input', {bubbles: true})); }",
                         first, last)
        self.browser.click("#apply")

    def test_pickers(self):
        self.open("#/metric/long")
        self.wait_chart()
        self.pick("2020-01-03T00:00:00", "2020-01-03T01:00:00")
        self.wait_rows("^721 rows in view, each a point$")
        self.assertIn("from=2020-01-03T00:00:00&to=2020-01-03T01:00:00", self.browser.run("return location.hash"))
        self.pick("2020-01-03T00:00:00", "2020-01-02T01:00:00")
        self.assertFalse(self.browser.run("return document.querySelector('#to').checkValidity()"))
        self.pick("2020-01-03T00:00:00", "2020-01-03T02:00:00")  # who has put it right is let through
        self.wait_rows("^1441 rows in view, each a point$")

    def test_deep_links(self):
        self.open("#/metric/spiky?from=2020-01-05T04:00:00&to=2020-01-05T06:00:00")
        self.wait_rows("^25 rows in view, each a point$")
        self.assertIn("0.97", self.browser.text("#rows tr.high"))
        self.open("#/metric/spiky?from=2020-01-05T04:00:00&to=2020-01-05T04:00:01")  # ticks are whole seconds
        self.wait_range(lambda first, last: last - first == 10)
        self.open("#/metric/spiky?from=2019-01-05T04:00:00&to=2019-01-06T04:00:00")
        self.wait_rows("^No rows in view$")
        self.assertEqual(*self.browser.run("return [...document.querySelectorAll('.u-over')].map((plot) => plot.getBoundingClientRect().left)"))
        self.open("#/metric/nobody")
        self.browser.wait("return document.querySelector('#notice')?.textContent.includes('not found: Metric ID: nobody')")
        self.open("#/metric/spiky?from=-1e9&to=99999999999999")  # no times
        self.wait_rows("^2000 rows in view")
        for nothing in ("#/metric/%E0%A4%A?from=x&to=2020", "#/what/is/this?window=year&level=7", "#content"):
            self.open(nothing)
            self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])

    def test_fragments_that_are_no_metrics(self):
        """What is no uid is asked for nowhere: the path might be another one, and its answer all rows of all metrics."""
        self.open()
        views = self.browser.run(
            "return import('/page/route.js').then(({parseRoute}) => Object.fromEntries(arguments[0].map((uid) =>"
            " [uid, parseRoute(`#/metric/${uid}`).view])))",
            [".", "..", "%2E%2e", "data", "export", "summary", "%64ata", "a%2Fb", "a%00", "a b", "a?b#c", "x/y", "...", "cpu%2E1", "A-z_0.9"])
        self.assertEqual({uid for uid, view in views.items() if view == "detail"}, {"...", "cpu%2E1", "A-z_0.9", "a?b#c"})

    def test_text_of_metrics_stays_text(self):
        self.open("#/metric/fresh")
        self.browser.wait("return document.querySelector('.detail h1')?.textContent === arguments[0]", HOSTILE)
        self.assertEqual(self.browser.count("main img"), 0)

    def test_series(self):
        """Gaps are holes, and stretches without a score are known."""
        self.open()
        series = self.browser.run(
            "return import('/page/series.js').then(({seriesOfRows, seriesOfBuckets, peaks}) => {"
            " const row = (at, score) => [new Date(at * 1000).toISOString().slice(0, 19).replace('T', ' '), at, score, 1];"
            " const rows = seriesOfRows([row(0, .6), row(60, .9), row(180, null), row(120, 0), row(600, .5), row(660, null)]);"
            " const buckets = seriesOfBuckets([['1970-01-01 00:00:00', 5, 1, 9, 2, 3, 4, null, 5], ['1970-01-01 00:01:00', 1, 7, 7, 7, 7, 7, .5, 0]], 60);"
            " return {rows, buckets, peaks: peaks(rows, .5)}; })")
        rows, buckets = series["rows"], series["buckets"]
        self.assertEqual(rows["time"], [0, 60, 120, 180, 390, 600, 660])
        self.assertEqual(rows["value"], [0, 60, 120, 180, None, 600, 660])
        self.assertEqual(rows["unscored"], [False, False, False, True, False, False, True])
        self.assertEqual(series["peaks"], [1, 5])
        self.assertEqual((buckets["time"], buckets["value"], buckets["unscored"]), ([30, 60], [4, 7], [True, False]))
        self.assertEqual((buckets["least"], buckets["greatest"]), ([1, 7], [9, 7]))

    def test_times(self):
        """Of all years that rows may have, in all forms; what is none is none."""
        self.open()
        texts = ["0001-01-01 00:00:00", "0099-12-31 23:59:59", "0100-01-01 00:00:00", "2014-11-02T01:00Z", "2014-11-02", "9999-12-31 23:59:59",
                 "1414890000", "2014-13-01T00:00:00", "253402300800", "10000-01-01", "x", ""]
        seconds = self.browser.run("return import('/page/time.js').then(({parseTime}) => arguments[0].map((text) => String(parseTime(text))))", texts)
        self.assertEqual(seconds, ["-62135596800", "-59011459201", "-59011459200", "1414890000", "1414886400", "253402300799",
                                   "1414890000", "NaN", "NaN", "NaN", "NaN", "NaN"])

    def test_long_stretches_without_a_score_cost_little(self):
        """Who looks at ten seconds of them sees no more hatches than the screen has room for."""
        self.open("#/metric/spiky")
        self.wait_chart()
        took = self.browser.run(
            "return Promise.all([import('/page/chart.js'), import('/page/series.js')]).then(async ([{Chart}, {seriesOfRows}]) => {"
            " const root = document.createElement('div'); root.className = 'plots'; document.body.append(root);"
            " const rows = [['2020-01-01 00:00:00', 1, null, 1], ['2020-03-01 00:00:00', 2, null, 2]], at = Date.UTC(2020, 1, 1) / 1000;"
            " const began = performance.now(), chart = new Chart(root, () => {});"
            " chart.draw(seriesOfRows(rows), {from: at, to: at + 10});"
            " await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
            " chart.destroy(); root.remove();"
            " return performance.now() - began; })")
        self.assertLess(took, 1500)

    def test_loaders_that_are_closed_load_no_more(self):
        self.open()
        self.assertEqual(self.browser.run(
            "return import('/page/loader.js').then(async ({Loader}) => { let loads = 0;"
            " const loader = new Loader(async () => { loads++; });"
            " await loader.start(); loader.close(); await loader.start(); return loads; })"), 1)

    def test_live_goes_on_after_a_failure(self):
        self.open("#/status")
        self.browser.wait("return document.querySelector('#services')")
        calls = self.browser.run(
            "addEventListener('unhandledrejection', (event) => event.preventDefault());"
            "return import('/page/live.js').then(async ({Live}) => { let calls = 0, stream;"
            " const real = fetch, tell = (id) => stream.enqueue(new TextEncoder().encode(`event: reload\\nid: ${id}\\ndata: {}\\n\\n`));"
            " window.fetch = async () => new Response(new ReadableStream({start: (made) => { stream = made; }}));"
            " const live = new Live(null, () => { calls++; return Promise.reject(new Error('on purpose')); });"
            " const until = async (count) => { while (calls < count) await new Promise((done) => setTimeout(done, 10)); };"
            " await new Promise((done) => setTimeout(done)); window.fetch = real;"
            " tell(1); await until(1); tell(2); await Promise.race([until(2), new Promise((done) => setTimeout(done, 5000))]);"
            " live.close(); return calls; })")
        self.assertEqual(calls, 2)
        self.assertEqual(["on purpose" in line for line in self.browser.log()], [True, True])

    def test_rows_that_come_too_late(self):
        """More rows were asked for, and then another selection: that one is shown."""
        self.open("#/metric/long?from=2020-01-02T00:00:00&to=2020-01-02T12:00:00")
        self.wait_rows("^8641 rows in view")
        self.browser.wait("return document.querySelectorAll('#rows tbody tr').length === 100")
        self.browser.run(
            "const real = fetch, waiting = []; window.late = 0; window.go = () => waiting.forEach((done) => done());"
            "window.fetch = async (path, options) => {"
            " if (!path.includes('limit=400')) return real(path, options);"
            " await new Promise((done) => waiting.push(done));"
            " const answer = await real(path, options), json = answer.json.bind(answer);"
            " answer.json = async () => { const value = await json(); setTimeout(() => { late = 1; }); return value; };"
            " return answer; }")
        self.browser.click(".below > button")
        self.browser.click("button[aria-label='Later']")
        self.browser.wait("return document.querySelector('#rows tbody td')?.textContent === '2020-01-02 06:00:00'")
        self.browser.run("go()")
        self.browser.wait("return window.late")
        self.assertEqual(self.browser.text("#rows tbody td"), "2020-01-02 06:00:00")

    def test_status(self):
        self.open("#/status")
        self.browser.wait("return document.querySelectorAll('#services tbody tr').length >= 3")
        self.assertGreaterEqual(self.browser.count("#workers tbody tr"), 3)
        text = self.browser.text("#status")
        for word in ("metric.query", "metric.write", "metric.feedback", "In quarantine", "Free on the disk", "MB"):
            self.assertIn(word, text)
        self.assertNotRegex(text, "NaN|undefined|null")
        self.assertIn("Ready", self.browser.text("#ready"))
        self.browser.screenshot(SHOTS / "status-1280.png")
        self.browser.emulate(360, 740)
        self.assert_fits()
        self.browser.screenshot(SHOTS / "status-360.png")
        self.browser.run("const box = document.querySelector('.scroll'); box.scrollLeft = 40; box.focus(); box.old = true;"
                         "document.dispatchEvent(new Event('visibilitychange'))")  # as who comes back to the tab
        self.browser.wait("return !document.querySelector('.scroll').old")
        self.assertEqual(self.browser.run("const box = document.querySelector('.scroll'); return [box.scrollLeft, box === document.activeElement]"),
                         [40, True])

    def test_feedback(self):
        self.open("#/metric/spiky?from=2020-01-05T04:00:00&to=2020-01-05T06:00:00")
        self.wait_chart()
        self.browser.click("#feedback-open")
        self.browser.type("#note", "Why? \U0001f914")
        self.browser.run("window.said = []; new MutationObserver((records) => records.forEach((record) =>"
                         " record.addedNodes.forEach((node) => said.push(node.textContent))))"
                         ".observe(document.querySelector('#feedback-state'), {childList: true})")
        self.browser.click("#feedback-send")
        self.browser.wait("return document.querySelector('#feedback-key')")
        self.assertIn("Uploaded as", self.browser.text("#feedback-state"))
        said = self.browser.run("return said.join()")
        self.assertRegex(said, r"Building the dump: \d+ %")
        self.assertRegex(said, r"Uploading: \d+ %")
        self.browser.screenshot(SHOTS / "feedback-1280.png")
        with tarfile.open(self.home / "data" / "uploads" / self.browser.text("#feedback-key")) as archive:
            sent = json.load(archive.extractfile("metric.json"))
        self.assertEqual((sent["note"], sent["view"]), ("Why? \U0001f914", {"from": "2020-01-05 04:00:00", "to": "2020-01-05 06:00:00"}))
        self.browser.click("#feedback-close")
        self.assertEqual(self.browser.count("dialog#feedback"), 0)
        self.browser.click("#feedback-open")
        self.browser.run("location.hash = '#/'")
        self.wait_names(["cpu.load", "long", "disk.free", HOSTILE])
        self.assertEqual(self.browser.count("dialog#feedback"), 0)  # it leaves with its metric

    def test_feedback_whose_answer_breaks_off(self):
        """Then nobody knows, and the page says so."""
        self.open("#/metric/spiky")
        self.wait_chart()
        self.browser.run(
            "window.fetch = async () => new Response(new ReadableStream({pull(stream) {"
            " this.told ? stream.error(new TypeError('network error')) : stream.enqueue(new TextEncoder().encode('{\"stage\":\"build\",\"done\":1,\"total\":2}\\n'));"
            " this.told = true; }}), {headers: {'Content-Type': 'application/x-ndjson'}})")
        self.browser.click("#feedback-open")
        self.browser.click("#feedback-send")
        self.browser.wait("return document.querySelector('#feedback-state')?.textContent.startsWith('The answer broke off')")
        self.assertFalse(self.browser.run("return document.querySelector('#feedback-send').disabled"))

    def test_feedback_that_waits_in_the_spool(self):
        """Its store is away: accepted, and still to be delivered; without the metric: refused, and why."""
        program = self.start("--upload", "s3://bucket/p", "--s3-endpoint", "http://127.0.0.1:9", "--s3-region", "eu-1", name="spooling",
                             env={"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
        self.load(program, "quiet", "disk.free", [(BEGIN + i, i, 0.01) for i in range(10)])
        self.open("#/metric/quiet", program)
        self.wait_chart()
        self.browser.click("#feedback-open")
        self.browser.click("#feedback-send")
        self.browser.wait("return document.querySelector('#feedback-state')?.textContent.startsWith('Accepted; the upload goes on')")
        jobs = json.loads(harness.run("spool", "list", "--format", "json", "--data", self.home / "spooling").out)
        self.assertIn(self.browser.text("#feedback-key"), json.dumps(jobs))
        self.browser.click("#feedback-close")
        self.assertEqual(harness.http_get(program, "/_models/quiet", method="DELETE")[0], 200)
        self.browser.click("#feedback-open")
        self.browser.type("#note", "another request, within the same second")
        self.browser.click("#feedback-send")
        self.browser.wait("return /^Not sent: .*not found/.test(document.querySelector('#feedback-state')?.textContent)")

    def test_screen_readers(self):
        """What can be used has a role and a name, in the tree that the browser shows to readers."""
        for fragment, ready, roles in (("#/", ".row svg", {"searchbox", "radio", "list", "listitem", "combobox", "status"}),
                                       ("#/metric/spiky", "#rows tbody tr", {"application", "table", "columnheader", "region"}),
                                       ("#/status", "#services", {"table", "rowheader"})):
            self.open(fragment)
            self.browser.wait("return document.querySelector(arguments[0])", ready)
            nodes = [node for node in self.browser.cdp("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
            found = {node["role"]["value"] for node in nodes}
            self.assertLessEqual(roles | {"main", "banner", "navigation", "heading"}, found, fragment)
            for node in nodes:
                role, name = node["role"]["value"], node.get("name", {}).get("value", "")
                if role in ("button", "link", "textbox", "searchbox", "combobox", "radio", "application", "table", "list", "img", "region", "progressbar"):
                    self.assertTrue(name, (fragment, role))

    def test_light_and_dark(self):
        self.open()
        papers = []
        for dark in (False, True):
            self.browser.emulate(1280, 800, dark)
            papers.append(self.browser.run("return getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"))
            colors = self.browser.run("const style = getComputedStyle(document.documentElement); return Object.fromEntries(arguments[0]"
                                      ".map((name) => [name, style.getPropertyValue(`--${name}`).trim()]))",
                                      ["paper", "card", "ink", "soft", "accent", "medium-ink", "high", "faint", "low", "medium"])
            for name in ("ink", "soft", "accent", "medium-ink", "high"):  # of text, then of edges and bars (WCAG 2.1, AA)
                self.assertGreaterEqual(min(contrast(colors[name], colors[paper]) for paper in ("paper", "card")), 4.5, (dark, name))
            for name in ("faint", "low", "medium"):
                self.assertGreaterEqual(contrast(colors[name], colors["card"]), 3, (dark, name))
        self.assertGreater(min(papers[0]), 200)
        self.assertLess(max(papers[1]), 60)

    def test_first_view_is_small(self):
        for fragment, ready in (("#/", ".row svg"), ("#/metric/spiky", "#rows tbody tr")):
            self.browser.cdp("Network.clearBrowserCache")
            self.open(fragment)
            self.browser.wait("return document.querySelector(arguments[0])", ready)
            sizes = self.browser.run("return performance.getEntries().filter((entry) => entry.transferSize !== undefined)"
                                     ".map((entry) => [new URL(entry.name).pathname, entry.transferSize])")
            page = {path: size for path, size in sizes if not path.startswith("/_")}
            self.assertGreater(len(page), 10)
            self.assertTrue(all(page.values()), page)
            print(f"{fragment}: {sum(page.values())} bytes of {len(page)} files", flush=True)
            self.assertLess(sum(page.values()), 100000)

    def test_first_chart_is_drawn_soon(self):
        """At 100,000 points: of the metric that has so many rows; and, to know it, so many points drawn one by one."""
        times = []
        for _ in range(3):
            self.open("#/metric/long")
            self.wait_chart()
            times.append(self.browser.run("const at = (name) => performance.getEntriesByName(name)[0].startTime;"
                                          "return at('drawn') - at('answer')"))
        every = self.browser.run(
            "return Promise.all([import('/page/chart.js'), import('/page/series.js')]).then(async ([{Chart}, {seriesOfRows}]) => {"
            " const text = JSON.stringify(Array.from({length: 100000}, (_, i) => [new Date(1.4e12 + 3e5 * i).toISOString().slice(0, 19).replace('T', ' '),"
            "   50 + 40 * Math.sin(i / 50) + i % 7, (i % 1000) / 1000, i]));"
            " const times = [];"
            " for (let i = 0; i < 3; i++) {"
            "  const root = document.createElement('div'); root.className = 'plots'; document.body.append(root);"
            "  const began = performance.now();"
            "  new Chart(root, () => {}).draw(seriesOfRows(JSON.parse(text)), {from: 1.4e9, to: 1.43e9});"
            "  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
            "  times.push(performance.now() - began); root.remove(); }"
            " return times; })")
        print(f"answer to drawn, ms: 100,000 rows summed up {[round(t) for t in times]}, single {[round(t) for t in every]}", flush=True)
        self.assertLess(min(times), 300)


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
class Live(Case):
    """What is new is on the screen within 2 s, and nothing is reloaded for it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.program = cls.start()
        cls.rows = {uid: [] for uid in ("one", "two")}
        for uid in cls.rows:
            cls.append(uid, [(BEGIN + 60 * i, i, 0.01) for i in range(20)])

    @classmethod
    def append(cls, uid, rows):
        cls.rows[uid] += rows
        data = [[value, stamp(at), score, None] for at, value, score in cls.rows[uid]]
        body = json.dumps({"datasource": "custom", "uid": uid, "metric": uid, "data": data})
        status, _, answer = harness.http_get(cls.program, "/_models", method="POST", body=body)
        assert status == 201, answer

    def see(self, what, script, *arguments):
        began = time.monotonic()
        self.browser.wait(script, *arguments)
        took = time.monotonic() - began
        print(f"{what}: seen after {took:.2f} s", flush=True)
        self.assertLess(took, 2 if not harness.SLOW else 20)

    def test_overview(self):
        self.open()
        self.wait_names(["one", "two"])
        self.browser.run("window.mine = 1; document.querySelector('.row a').focus();"
                         "window.pressed = document.querySelectorAll('.row a')[1]")
        at = self.rows["two"][-1][0] + 60
        self.append("two", [(at, 4711, 0.9)])
        self.see("a row with a high score", "const row = document.querySelector('.row[data-index=\"0\"]');"
                 "return row?.textContent.includes('4711') && row.textContent.startsWith('two') && row.querySelector('.bar.high')")
        self.assertEqual(self.browser.run("return document.activeElement.textContent"), "one")  # the focus stays with its metric
        self.assertEqual(self.browser.run("return [pressed.isConnected, pressed.textContent]"), [True, "two"])  # a click would arrive
        harness.http_get(self.program, "/_models", method="POST", body=json.dumps({"datasource": "custom", "metric": "three"}))
        self.see("a metric that was made", "return document.querySelector('.count').textContent.startsWith('3 metrics')")
        self.assertEqual(self.browser.run("return window.mine"), 1)
        live = "return document.querySelector('.count').getAttribute('aria-live')"
        self.assertEqual(self.browser.run(live), "off")  # nobody asked: it is not read out
        self.browser.type("#search", "o")
        self.assertEqual(self.browser.run(live), "polite")

    def test_a_clock_that_is_ahead(self):
        """One metric with a row of the future leaves the windows to the others."""
        body = json.dumps({"datasource": "custom", "uid": "ahead", "metric": "ahead", "data": [[1, "2137-01-01 00:00:00", 0.9, None]]})
        self.assertEqual(harness.http_get(self.program, "/_models", method="POST", body=body)[0], 201)
        try:
            self.open("#/?window=hour")
            self.wait_names(["one", "two", "ahead"])
            self.assertIn("no rows", self.browser.text(".row[data-index='2']"))
        finally:
            harness.http_get(self.program, "/_models/ahead", method="DELETE")

    def test_a_metric_without_rows(self):
        harness.http_get(self.program, "/_models", method="POST", body=json.dumps({"datasource": "custom", "metric": "bare", "uid": "bare"}))
        for range_ in ("", "?from=2020-01-01T00:00:00&to=2020-01-02T00:00:00"):
            self.open(f"#/metric/bare{range_}")
            self.wait_rows("^The metric has no rows yet.$")
            self.browser.run("document.querySelectorAll('.buttons button').forEach((button) => button.click());"
                             "document.querySelector('#chart').focus()")
            self.browser.press("Home", "End", "+", "Left")
        self.browser.click("#feedback-open")
        self.assertNotIn("1970", self.browser.text("#feedback p"))
        self.browser.click("#feedback-close")
        harness.http_get(self.program, "/_models/bare", method="DELETE")
        self.see("that it is gone", "return document.querySelector('#notice').textContent.includes('not found')")

    def test_detail(self):
        self.open("#/metric/one")
        self.wait_chart()
        count = len(self.rows["one"])
        self.wait_rows(f"^{count} rows in view")
        self.append("one", [(self.rows["one"][-1][0] + 60, 4712, 0.02)])
        self.see("a row in the chart", "return document.querySelector('#what')?.textContent.startsWith(arguments[0])", f"{count + 1} rows in view")
        self.assertIn("last 4712", self.browser.text(".facts"))
        self.browser.run("document.querySelector('#chart').focus()")
        self.browser.press("+", "End")
        end = self.rows["one"][-1][0]
        self.wait_range(lambda first, last: last == end and first > BEGIN)
        self.append("one", [(end + 60, 1, 0.02)])
        harness.wait_until(lambda: self.range()[1] == end + 60, what="the view goes on with the end")
        self.browser.run("const from = document.querySelector('#from'); from.value = '2020-01-01T00:03:00';"
                         "from.dispatchEvent(new Event('input', {bubbles: true}))")
        self.append("one", [(end + 120, 4713, 0.02)])
        self.see("another row", "return document.querySelector('.facts').textContent.includes('last 4713')")
        self.assertEqual(self.browser.run("return document.querySelector('#from').value"), "2020-01-01T00:03")  # what somebody types stays


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
class Keys(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        file = cls.home / "keys"
        cls.reader = harness.run("key", "reader", "--rights", "read", "--api-keys", file).out.strip()
        cls.program = cls.start("--api-keys", file, env={"METRICMQ_API_KEY": "sesame-sesame-ö"})
        cls.load(cls.program, "quiet", "disk.free", [(BEGIN + i, i, 0.01) for i in range(10)])

    def enter(self, key):
        self.browser.wait("return document.querySelector('#key-dialog')?.open")
        self.browser.type("#key-input", key)
        self.browser.press("Enter")

    def test_key(self):
        self.open()
        self.browser.wait("return document.querySelector('#key-reason')?.textContent === 'The server wants a key.'")
        self.browser.screenshot(SHOTS / "key-1280.png")
        self.enter("wrong")
        self.browser.wait("return document.querySelector('#key-reason')?.textContent === 'The server does not know this key.'")
        self.enter("sesame-sesame-ö")
        self.wait_names(["disk.free"])
        self.assertEqual(self.browser.run("return [sessionStorage.length, localStorage.length, document.cookie]"), [1, 0, ""])
        self.browser.run("location.reload()")
        self.wait_names(["disk.free"])
        self.assertFalse(self.browser.run("return document.querySelector('#key-dialog')?.open"))
        self.browser.click("#forget")
        self.browser.wait("return document.querySelector('#key-dialog')?.open")
        self.browser.press("Escape")
        self.browser.wait("return document.querySelector('#notice')?.textContent.includes('Without a key')")
        self.enter_anew(self.reader)
        self.wait_names(["disk.free"])
        self.browser.run("location.hash = '#/status'")
        self.browser.wait("return document.querySelector('#status')?.textContent.includes('needs the right `admin`')")
        self.assertIn("Ready", self.browser.text("#ready"))

    def enter_anew(self, key):
        self.browser.run("location.reload()")
        self.enter(key)


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
class Outage(Case):
    def test_broker_down_and_back(self):
        whole = harness.up(self.home / "data")
        self.load(whole, "quiet", "disk.free", [(BEGIN + i, i, 0.01) for i in range(10)])
        endpoints = ["--bind", whole.ready["clients"], "--bind-workers", whole.ready["workers"]]
        with harness.Program("http", "--http", "127.0.0.1:0", "--connect", whole.ready["clients"], "--timeout", "1s") as adapter:
            self.open("#/", adapter)
            self.wait_names(["disk.free"])
            whole.stop()
            self.browser.click("label:has(#window-week)")
            self.browser.wait("return /Trying again/.test(document.querySelector('#notice')?.textContent)", timeout=45)
            self.assertEqual(self.names(), ["disk.free"])  # what was there stays
            with harness.Program("up", "--data", self.home / "data", "--http", "127.0.0.1:0", *endpoints):
                self.browser.wait("return document.querySelector('#notice')?.hidden", timeout=45)
                self.wait_names(["disk.free"])
                adapter.stop()
                self.browser.click("nav a[data-view='status']")  # its module is not there yet
                self.browser.wait("return /Trying again/.test(document.querySelector('#notice')?.textContent)")
                with harness.Program("http", "--http", adapter.ready["http"].removeprefix("http://"), "--connect", whole.ready["clients"]):
                    self.browser.wait("return document.querySelector('#services')", timeout=45)
                    self.browser.wait("return document.querySelector('#notice')?.hidden")


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
class Many(Case):
    def test_ten_thousand_metrics(self):
        program = self.start()
        metrics = [{"datasource": "custom", "metric": f"metric.{n:05}", "resource": f"host-{n % 97}",
                    "data": [[n, stamp(BEGIN + 60 * i), round((n * 37 % 10007) / 10007, 4), None] for i in range(3)]}
                   for n in range(10000)]
        bare = json.dumps({"datasource": "custom", "metric": "bare", "uid": "bare"})
        self.open("#/", program)
        self.browser.wait("return document.querySelector('.count')?.textContent.startsWith('There are no metrics yet')")
        self.assertEqual(harness.http_get(program, "/_models", method="POST", body=bare)[0], 201)
        self.browser.wait("return document.querySelector('.count').textContent === '1 metric, 0 with a score of 0.5 or more; no rows yet'")
        harness.http_get(program, "/_models/bare", method="DELETE")
        self.assertEqual(harness.http_get(program, "/_models", method="POST", body=json.dumps(metrics))[0], 201)
        self.browser.wait("return document.querySelector('.count')?.textContent.startsWith('10000 metrics')")
        self.browser.wait("return document.querySelectorAll('.row svg').length > 5")
        self.assertLess(self.browser.count(".row"), 60)
        frames = self.browser.run(
            "const list = document.querySelector('.list'); return new Promise((done) => { const times = []; let before = performance.now();"
            " const step = () => { const now = performance.now(); times.push(now - before); before = now;"
            "  list.scrollTop += 900; times.length < 60 ? requestAnimationFrame(step) : done(times.slice(5)); };"
            " requestAnimationFrame(step); })")
        frames.sort()
        print(f"10,000 metrics: a frame of scrolling takes {frames[len(frames) // 2]:.0f} ms (median), {frames[-3]:.0f} (third longest)", flush=True)
        self.assertLess(frames[len(frames) // 2], 50)
        self.assertLess(self.browser.count(".row"), 60)
        self.browser.press("/", "Down", "End")
        self.browser.wait("return document.activeElement.closest('.row')?.dataset.index === '9999'")
        self.browser.wait("return document.activeElement.closest('.row').querySelector('svg')")
        began = time.monotonic()
        self.browser.type("#search", "metric.0777")
        self.wait_names([f"metric.0777{n}" for n in sorted(range(10), key=lambda n: -((7770 + n) * 37 % 10007))])
        self.assertLess(time.monotonic() - began, 5)


@unittest.skipUnless(BROWSER, "no chromium, or no chromium-driver")
@unittest.skipUnless(harness.NAB.exists(), "no NAB files")
class Nab(Case):
    def test_known_anomalies_stand_out(self):
        """Where NAB says that something was wrong, the strip has a bar of the highest colour."""
        program = self.start()
        files = [path for folder in ("realKnownCause", "artificialNoAnomaly") for path in sorted((harness.NAB / folder).glob("*.csv"))]
        harness.run("import", "--connect", program.ready["clients"], *files)
        self.open("#/", program)
        self.browser.wait("return document.querySelectorAll('.row svg').length === arguments[0]", len(files))
        for name in KNOWN:
            high = self.browser.run(
                "const row = [...document.querySelectorAll('.row')].find((row) => row.querySelector('a')?.textContent === arguments[0]);"
                "return [...(row.querySelector('.bar.high')?.getAttribute('d') ?? '').matchAll(/M(\\d+) /g)].map((at) => at[1] / 4)",
                f"numenta_{name}")
            with open(next(path for path in files if name in path.name)) as file:
                rows = [(calendar.timegm(time.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S")), row["label"] == "1")
                        for row in csv.DictReader(file)]
            first, last = rows[0][0], max(at for at, _ in rows)
            width = -(-(last - first + 1) // 60)
            slices = sorted({(at - first) // width for at, wrong in rows if wrong})
            windows = sum(at - 1 not in slices for at in slices)
            hit = sum(1 for at in slices if at - 1 not in slices and
                      any(one in high for one in range(at, at + next(n for n in range(1, 61) if at + n not in slices))))
            print(f"{name}: {hit} of {windows} known anomalies, {len(high)} slices high", flush=True)
            self.assertGreater(hit, windows / 2)
            self.assertLess(len(high), 15)  # of 60: they are told from the rest
        self.browser.screenshot(SHOTS / "nab-1280.png")
        self.browser.emulate(360, 740)
        self.browser.screenshot(SHOTS / "nab-360.png")
        self.browser.emulate(1280, 800)
        self.browser.run("[...document.querySelectorAll('.row a')].find((a) => a.textContent === 'numenta_nyc_taxi').click()")
        self.wait_chart()
        self.browser.screenshot(SHOTS / "nab-detail-1280.png")


if __name__ == "__main__":
    harness.main()
