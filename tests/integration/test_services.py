"""The units of ops/systemd under systemd itself (tests/machine.py): it starts the roles, is told how they are, and starts
them again when they die, while clients go on (tests/supervised.py). `ops/faults --only services` kills each 20 times.
Where systemd cannot be had, and under sanitizers, a small service manager has its place for the latter (tests/roles.py).
"""
import signal
import sys
import unittest

import bus
import harness
import machine
import roles
import supervised

SOON = "[Service]\nRestartSec=100ms\n"  # the units wait a second


def loudly(text):
    print(text, file=sys.stderr, flush=True)


class Killed(harness.Case):
    """Each role under load. Never skipped."""

    def of_systemd(self):
        """Endpoint, url and the machine; None: there can be none."""
        try:
            house = machine.Machine(self.folder)
            self.addCleanup(house.end)
            places = supervised.install(house)
            for unit in supervised.UNITS:
                house.drop_in(unit, SOON)
            house.boot()
        except machine.Impossible as why:
            loudly(f"NO SYSTEMD HERE, a small service manager of the test's own has its place: {why}")
            return None
        house.control("start", "metricmq.target")
        return *places, house

    def of_our_own(self):
        endpoint, url, variables = supervised.environment(self.folder)
        house = roles.Roles(self.folder, variables)
        self.addCleanup(house.end)
        return endpoint, url, house

    def kill_each(self, endpoint, url, house, times):
        work = supervised.Work(house, self.folder, endpoint, url, harness.seed())
        self.addCleanup(work.abandon)
        for unit in supervised.UNITS * times:
            work.kill(unit)
        print(work.finish(), flush=True)

    def test_each_is_killed(self):
        under = None if harness.SLOW else self.of_systemd()
        endpoint, url, house = under or self.of_our_own()
        self.kill_each(endpoint, url, house, 1 if harness.SLOW else 2)
        if under is None:
            house.stop()


@unittest.skipIf(harness.SLOW, "a sanitizer's runtime does not work in the units' sandbox")
class Services(harness.Case):
    def setUp(self):
        super().setUp()
        try:
            self.machine = machine.Machine(self.folder)
            self.addCleanup(self.machine.end)
            self.endpoint, self.url = supervised.install(self.machine)
        except machine.Impossible as why:
            self.skip(why)

    def skip(self, why):
        loudly(f"SKIPPED, NOT TESTED: {why}")
        raise why

    def boot(self):
        try:
            self.machine.boot()
        except machine.Impossible as why:
            self.skip(why)

    def start(self, *units):
        """All that was started is ready: else `start` would not have returned."""
        self.boot()
        self.machine.control("start", *units)

    def state(self, unit):
        return self.machine.show(unit, "ActiveState")

    def wait_status(self, unit, text):
        harness.wait_until(lambda: text in self.machine.show(unit, "StatusText"), 20, f"{unit}: {text}")

    def test_the_target(self):
        """Its roles, as their user and with their states; more query workers; what ends with it."""
        self.start("metricmq.target", "metricmq-query@2", "metricmq-query@3")
        for unit in [*supervised.UNITS, "metricmq-query@2", "metricmq-query@3"]:
            self.assertTrue(self.machine.is_active(unit), self.machine.control("status", unit, check=False))
            pid = self.machine.show(unit, "MainPID")
            self.assertEqual(self.machine.run("stat", "-c", "%U", f"/proc/{pid}").stdout.strip(), "metricmq")
        self.wait_status("metricmq-broker", "broker: 6 workers, ")
        self.wait_status("metricmq-query@2", "metric.query: serving 1 of 1 brokers")
        self.wait_status("metricmq-http", f"http: {self.url}, ")
        self.machine.control("restart", "metricmq.target")
        self.machine.control("stop", "metricmq.target")
        for unit in [*supervised.UNITS, "metricmq-query@2"]:
            harness.wait_until(lambda: self.state(unit) == "inactive", 20, f"the end of {unit}")
            self.assertEqual(self.machine.show(unit, "Result"), "success")

    def test_all_in_one_or_each_for_itself(self):
        self.start("metricmq.target")
        harness.run("demo", "--metrics", "1", "--rows", "10", "--connect", self.endpoint)
        self.machine.control("start", "metricmq.service")
        self.assertEqual({self.state(unit) for unit in [*supervised.UNITS, "metricmq.target"]}, {"inactive"})
        self.assertEqual(self.state("metricmq.service"), "active")
        self.wait_status("metricmq.service", "broker: 4 workers")
        with bus.Bus(self.endpoint) as client:
            self.assertEqual(len(bus.rows_of(client.stream({"op": "data", "anomaly": -1}))), 10)
        self.machine.control("start", "metricmq.target")
        self.assertEqual(self.state("metricmq.service"), "inactive")
        self.assertEqual({self.state(unit) for unit in supervised.UNITS}, {"active"})

    def test_a_role_that_stands_still(self):
        """Its pings stay out: it is ended and started again."""
        for unit in supervised.UNITS:
            self.machine.drop_in(unit, SOON + "WatchdogSec=1s\n")
        self.start("metricmq.target")
        since = {unit: self.machine.kill(unit, signal.SIGSTOP) for unit in supervised.UNITS}
        for unit, since_s in since.items():
            self.assertGreater(self.machine.wait_again(unit, since_s), 0.5)
        self.assertEqual({self.machine.show(unit, "NRestarts") for unit in supervised.UNITS}, {"1"})

    def test_reload(self):
        """Both keys hold: the one that systemd hands over, and those of a file, which is read again."""
        keys = "/etc/metricmq/keys"
        self.machine.write(keys, "", 0o640)
        self.machine.write("/etc/metricmq/http.env", f"METRICMQ_HTTP={self.url[7:]}\nMETRICMQ_API_KEYS={keys}\n", 0o600)
        self.boot()
        self.assertEqual(self.machine.run("chgrp", "metricmq", keys).returncode, 0)
        self.machine.control("start", "metricmq.target")
        self.assertEqual(self.ask("none"), 401)
        self.assertEqual(self.ask(supervised.KEY), 200)
        made = self.machine.run("metricmq", "key", "one", "--rights", "read", "--api-keys", keys)
        self.assertEqual(self.ask(made.stdout.strip()), 401)
        self.machine.control("reload", "metricmq-http")
        self.assertEqual(self.ask(made.stdout.strip()), 200)
        self.assertEqual(self.machine.run("sh", "-c", f"echo damaged >> {keys}").returncode, 0)
        self.machine.control("reload", "metricmq-http")
        self.wait_status("metricmq-http", "keys were not read again: ")
        self.assertEqual(self.ask(made.stdout.strip()), 200)
        self.machine.control("reload", "metricmq-broker")
        self.assertTrue(self.machine.is_active("metricmq-broker"))
        self.assertEqual(self.machine.show("metricmq-http", "NRestarts"), "0")

    def ask(self, key):
        self.ready = {"http": self.url}
        return harness.http_get(self, "/_models", supervised.basic(key))[0]

    def test_a_configuration_that_is_wrong(self):
        """It is not tried again, and the others are not held up."""
        self.machine.write("/etc/metricmq/query.env", "METRICMQ_THREADS=many\n", 0o600)
        self.start("metricmq.target")
        self.assertEqual(self.machine.show("metricmq-query", "ActiveState", "ExecMainStatus", "NRestarts"),
                         ["failed", "2", "0"])
        look = self.machine.run("sh", "-c", "set -a; . /etc/metricmq/query.env; exec setpriv --reuid=metricmq --regid=metricmq "
                                "--clear-groups metricmq check-config worker query --data /var/lib/metricmq")
        self.assertEqual((look.returncode, look.stderr),
                         (2, "metricmq: METRICMQ_THREADS=many: want a whole number from 1 to 64\n"))
        self.assertEqual(self.state("metricmq-http"), "active")


if __name__ == "__main__":
    harness.main()
