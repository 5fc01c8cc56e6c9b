"""The roles as services, of systemd itself where it can be had, killed one after the other while clients go on."""
import contextlib

import machine
import roles
import supervised
from catalogue import case

KILLS = 20  # of each role
PAUSE_S = 1  # RestartSec= of the units


@contextlib.contextmanager
def manager(trial):
    """Endpoint, url and whoever manages the services."""
    try:
        with machine.Machine(trial.folder) as house:
            endpoint, url = supervised.install(house)
            house.boot()
            house.control("start", "metricmq.target")
            yield endpoint, url, house
    except machine.Impossible as why:
        trial.note(f"no systemd here, a small service manager has its place: {why}")
        endpoint, url, variables = supervised.environment(trial.folder)
        house = roles.Roles(trial.folder, variables, PAUSE_S)
        try:
            yield endpoint, url, house
            house.stop()
        finally:
            house.end()


@case("services", "kill -9 of each role 20 times under systemd, with the units as they are", quick=0, full=1, alone=True)
def services_are_killed(trial):
    """No request of the client library fails, no acknowledged row or accepted dump is lost or doubled."""
    with manager(trial) as (endpoint, url, house):
        work = supervised.Work(house, trial.folder, endpoint, url, trial.random, rate=200)
        try:
            for _ in range(KILLS):
                for unit in supervised.UNITS:
                    trial.moment(0, 0.5)
                    role = unit.removeprefix("metricmq-").removesuffix(".service")
                    trial.sample(f"{role} ready again, s", work.kill(unit))
            for what, value in work.finish().items():
                trial.count(what, round(value, 2))
        finally:
            work.abandon()
