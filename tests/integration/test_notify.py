"""What the roles tell a service manager (sd_notify(3)): READY, STATUS, RELOADING, STOPPING, WATCHDOG."""
import contextlib
import re
import signal
import socket
import time
import unittest

import harness
import manager
import one_thread


class Told(harness.Case):
    def setUp(self):
        super().setUp()
        self.managers = 0

    def manager(self, **options):
        self.managers += 1
        folder = self.folder / f"manager{self.managers}"
        folder.mkdir()
        made = manager.Manager(folder, **options)
        self.addCleanup(made.close)
        return made

    def start(self, listener, *args, env=None, **options):
        program = harness.Program(*args, env={**listener.environment(), **(env or {})}, **options)
        self.addCleanup(lambda: program.process.returncode is None and program.stop())
        return program

    def start_broker(self, listener, *args, **options):
        return self.start(listener, "broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL, *args, **options)


class Life(Told):
    def end(self, program, listener):
        """STOPPING is the last stage that is told."""
        program.stop()
        stages = [name for said in listener.listen() for name in said if name in ("READY", "RELOADING", "STOPPING")]
        self.assertEqual((stages[0], stages[-1], stages.count("STOPPING")), ("READY", "STOPPING", 1))
        self.assertIn("stopping", listener.status())

    def test_broker_worker_and_http(self):
        told = [self.manager(abstract=number == 1) for number in range(4)]
        broker = self.start_broker(told[0])
        told[0].wait("READY")
        self.assertRegex(told[0].status(), r"^broker: \d+ workers, \d+ clients connected, 0 requests so far")
        workers = ("--connect", broker.ready["workers"], "--data", self.folder / "data")
        write = self.start(told[1], "worker", "write", *workers)
        told[1].wait("READY")
        told[1].wait_status(r"^metric.write: serving 1 of 1 brokers, \d+ requests answered")
        query = self.start(told[2], "worker", "query", *workers)
        told[2].wait("READY")
        http = self.start(told[3], "http", "--http", "127.0.0.1:0", "--connect", broker.ready["clients"])
        told[3].wait("READY")
        self.assertIn(f"http: {http.ready['http']}, ", told[3].status())
        told[0].wait_status("^broker: 3 workers")  # the write worker is two: metric.write, metric.watch
        for program, listener in zip((http, query, write, broker), told[::-1]):
            self.end(program, listener)

    def test_a_worker_waits_for_a_broker(self):
        """It is ready then, too: who starts first does not matter."""
        broker = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL)
        ready = broker.ready
        broker.stop()
        told = self.manager()
        began = time.monotonic()
        write = self.start(told, "worker", "write", "--connect", ready["workers"], "--data", self.folder / "data")
        told.wait("READY")
        self.assertGreater(time.monotonic() - began, 0.9)  # it gave the broker a chance
        self.assertIn("metric.write: waiting for a broker", told.status())
        with harness.Program("broker", "--bind", ready["clients"], "--bind-workers", ready["workers"]):
            told.wait_status("serving 1 of 1 brokers")
            second = self.manager()
            standby = self.start(second, "worker", "write", "--connect", ready["workers"], "--data",
                                 self.folder / "data")
            second.wait("READY")
            self.assertIn("standby", second.status())
            write.stop()
            second.wait_status("metric.write: serving 1 of 1 brokers")
            standby.stop()

    def test_up(self):
        told = self.manager()
        program = self.start(told, "up", "--data", self.folder / "data", "--http", "127.0.0.1:0", "--bind",
                             harness.LOCAL, "--bind-workers", harness.LOCAL)
        told.wait("READY")
        told.wait_status(r"broker: 4 workers, .*; http: http://127.0.0.1:\d+, \d+ connections")
        program.signal(signal.SIGHUP)  # there is nothing to read again, and it lives
        told.wait("READY", count=2)
        self.end(program, told)

    def test_a_failure_to_start_is_no_readiness(self):
        told = self.manager()
        done = harness.run("worker", "query", "--data", self.folder / "none", env=told.environment(), check=False)
        self.assertEqual((done.returncode, told.values("READY")), (1, []))


class Reload(Told):
    def test_lists_of_keys(self):
        keys = self.folder / "keys"
        harness.run("keygen", "--curve", keys, "server")
        harness.run("keygen", "--curve", keys, "client", "one")
        told = self.manager()
        program = self.start_broker(told, "--curve", keys)
        told.wait("READY")
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        program.signal(signal.SIGHUP)
        told.wait("READY", count=2)
        reload, = [said for said in told.said if "RELOADING" in said]
        self.assertTrue(began <= int(reload["MONOTONIC_USEC"]) / 1e6 <= time.clock_gettime(time.CLOCK_MONOTONIC))
        self.assertLess(told.said.index(reload), max(n for n, said in enumerate(told.said) if "READY" in said))
        (keys / "clients" / "one.cert").write_text("damaged")
        program.signal(signal.SIGHUP)
        told.wait("READY", count=3)
        told.wait_status(r"^keys were not read again: .*one\.cert")
        (keys / "clients" / "one.cert").unlink()
        program.signal(signal.SIGHUP)
        told.wait_status("^broker: ")
        program.stop()


class Watchdog(Told):
    def test_pings_at_half_the_time(self):
        told = self.manager(period_s=0.4)
        program = self.start_broker(told)
        told.wait("READY")
        began = time.monotonic()
        told.wait("WATCHDOG", count=4)
        pings = [when for said, when in zip(told.said, told.times) if "WATCHDOG" in said]
        self.assertGreater(pings[-1] - pings[0], 0.15 * (len(pings) - 1))
        if not harness.SLOW:
            self.assertLess(pings[-1] - began, 3)
        program.stop()

    def test_pings_that_are_for_another(self):
        told = self.manager(period_s=0.05)
        other = self.start_broker(told, env={"WATCHDOG_PID": "1"})
        own = self.manager(period_s=0.05)
        program = self.start_broker(own, prefix=("/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh"))
        own.wait("WATCHDOG", count=3)
        other.stop()
        program.stop()
        self.assertEqual((told.values("READY"), told.values("WATCHDOG")), (["1"], []))

    @unittest.skipIf(harness.SLOW, "a sanitizer's runtime does not bear with a thread that stands still")
    def test_a_loop_that_stands_still(self):
        """One thread is stopped; the main thread goes on, and must not say that all is well."""
        told = {name: self.manager(period_s=2) for name in ("broker", "write", "http")}
        broker = self.start_broker(told["broker"])
        write = self.start(told["write"], "worker", "write", "--connect", broker.ready["workers"], "--data",
                           self.folder / "data")
        http = self.start(told["http"], "http", "--http", "127.0.0.1:0", "--connect", broker.ready["clients"])
        programs = broker, write, http
        for listener in told.values():
            listener.wait("WATCHDOG")
        with one_thread.Stopped(broker.process.pid, "broker"), one_thread.Stopped(http.process.pid, "http", -1), \
                one_thread.Stopped(write.process.pid, "worker"):
            for program in programs:
                harness.wait_until(lambda: "no progress is made" in program.errors(), what="the complaint")
            for listener in told.values():
                listener.listen()
            stopped = time.monotonic()
            for program in programs:
                program.signal(signal.SIGHUP)  # the main thread lives, and answers
            for listener in told.values():
                listener.wait("RELOADING")
            harness.wait_until(lambda: time.monotonic() > stopped + 1.2, what="a ping's time")
            for name, listener in told.items():
                self.assertEqual(listener.pings_after(stopped), 0, name)
        resumed = time.monotonic()
        for name, listener in told.items():
            harness.wait_until(lambda: listener.pings_after(resumed) > 0, what=f"pings of {name}")


class Hostile(Told):
    def test_addresses_that_are_none(self):
        """The program serves as if nobody had asked."""
        longest = "/" + "x" * 200
        for address in ("", "relative", "/", "@", "/nowhere/at/all", "/dev/null", longest, "@" + longest, "vsock:2:1",
                        "\x01\n"):
            with self.subTest(address):
                program = harness.Program("broker", "--bind", harness.LOCAL, "--bind-workers", harness.LOCAL,
                                          env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
                program.stop()

    def test_times_that_are_none(self):
        for period, pid in (("", None), ("0", None), ("-1", None), ("x", None), ("9" * 30, None), ("1e3", None),
                            ("50000", "x"), ("50000", ""), ("50000", "-1"), ("50000", "9" * 30)):
            with self.subTest((period, pid)):
                told = self.manager()
                watch = {"WATCHDOG_USEC": period, **({} if pid is None else {"WATCHDOG_PID": pid})}
                program = self.start_broker(told, env=watch)
                told.wait("READY")
                program.stop()
                self.assertEqual(told.values("WATCHDOG"), [])

    def stuff(self, told):
        """Fills its socket: the one that sends has its own bound, so several do."""
        stuffed = True
        while stuffed:
            stuffing, stuffed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), False
            self.addCleanup(stuffing.close)
            stuffing.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    stuffing.sendto(b"STUFFED=1\n", told.address)
                    stuffed = True

    def test_a_manager_that_does_not_listen(self):
        """Its socket is full: nothing waits for it. READY is owed, and told when there is room."""
        told = self.manager(period_s=0.1)
        self.stuff(told)
        program = self.start_broker(told)
        with harness.Program("http", "--http", "127.0.0.1:0", "--connect", program.ready["clients"]) as http:
            harness.wait_until(lambda: harness.http_get(http, "/health/live")[0] == 200, what="life")
        self.assertEqual(list(told.take()), ["STUFFED"])
        told.wait("READY")
        told.wait("WATCHDOG", count=3)
        program.stop()

    def test_texts_of_peers(self):
        """A status is one line, whatever a file's name has put into it."""
        told = self.manager()
        keys = self.folder / "keys"
        harness.run("keygen", "--curve", keys, "server")
        harness.run("keygen", "--curve", keys, "client", "one")
        program = self.start_broker(told, "--curve", keys)
        told.wait("READY")
        (keys / "clients" / "one.cert").rename(keys / "clients" / "o\nREADY=1\u00e4.cert")
        (keys / "clients" / "o\nREADY=1\u00e4.cert").write_text("damaged")
        program.signal(signal.SIGHUP)
        told.wait_status("not read again: .*o.READY=1")
        self.assertFalse(re.search(r"[^ -~]", told.status()))
        program.stop()


if __name__ == "__main__":
    harness.main()
