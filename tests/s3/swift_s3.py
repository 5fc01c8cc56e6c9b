"""OpenStack Swift with its s3api, on one device and without replication. Run by keep.py.

Learnt by trying (Swift 2.30): the cache filter is wanted, a memcached is not, so it is given a port at which
nobody listens. The four servers are forked from one process that has loaded Swift, which saves most of
their start. The access key has a colon in it: ACCOUNT:USER.
"""
import getpass
import os
import sys

import keeper as keepers

ACCESS_KEY, SECRET_KEY = "test:tester", "testsecret0123456789"

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address = {folder}/no-syslog
"""

STORAGE = COMMON + """\
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
replication_concurrency = 0
"""  # 0: else it wants a semaphore, and /dev/shm is not everybody's in every chroot

PROXY = COMMON + """\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
storage_domain = s3.localhost
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""

SWIFT = "[swift-hash]\nswift_hash_path_suffix = suffix\nswift_hash_path_prefix = prefix\n" \
        "[storage-policy:0]\nname = gold\ndefault = yes\n"


def configure(keeper, options):
    """Writes configurations; returns the servers' ports by name."""
    ports = dict(zip(("account", "container", "object", "proxy"), keepers.free_ports(4)))
    (keeper.folder / "devices" / "one").mkdir(parents=True)
    (keeper.folder / "swift.conf").write_text(SWIFT)
    for name, port in ports.items():
        text = (PROXY if name == "proxy" else STORAGE).format(
            name=name, port=port, user=getpass.getuser(), folder=keeper.folder, secret=SECRET_KEY)
        (keeper.folder / f"{name}.conf").write_text(text)
    return ports


def write_rings(folder, ports):
    from swift.common.ring import RingBuilder
    for name in ("account", "container", "object"):
        builder = RingBuilder(4, 1, 0)
        builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "ip": "127.0.0.1", "port": ports[name],
                         "replication_ip": "127.0.0.1", "replication_port": ports[name], "device": "one", "meta": ""})
        builder.rebalance()
        builder.get_ring().save(f"{folder}/{name}.ring.gz")


def serve(folder, ports):
    """In a process of its own: forks a server each, and ends when one of them does."""
    from swift.common import utils, wsgi
    from swift.obj import server
    utils.set_swift_dir(folder)
    write_rings(folder, ports)
    for name in ports:
        if os.fork() == 0:
            keepers.die_with_parent()
            callback = {"global_conf_callback": server.global_conf_callback} if name == "object" else {}
            os._exit(wsgi.run_wsgi(f"{folder}/{name}.conf", f"{name}-server", **callback))
    os.wait()


def start(keeper, options):
    ports = configure(keeper, options)
    keeper.start("swift", sys.executable, __file__, keeper.folder, *(f"{name}={port}" for name, port in ports.items()))
    for port in ports.values():
        keeper.wait_until(lambda: keepers.listens(port), "Swift")
    return {"endpoint": f"http://127.0.0.1:{ports['proxy']}", "named": f"http://s3.localhost:{ports['proxy']}",
            "tls": None, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "role": None}


if __name__ == "__main__":
    serve(sys.argv[1], {name: int(port) for name, port in (pair.split("=") for pair in sys.argv[2:])})
