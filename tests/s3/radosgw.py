"""Ceph's S3 gateway on a cluster of one monitor and one OSD, without keys among them. Run by keep.py.

Learnt by trying (Ceph 16.2): memstore takes its id from the file fs_fsid and not from --osd-uuid; an OSD
that puts itself into the CRUSH map may die of a race, so that is done for it; the monitor proposes each
50 ms (by default each second), of which a start needs many; a Host that is neither an address nor the
`rgw dns name` would be taken for a bucket.
"""
import json
import time
import uuid

import keeper as keepers

ACCESS_KEY, SECRET_KEY = "testaccess", "testsecret0123456789"
ROLE = "arn:aws:iam:::role/dumps"

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon_port}]
auth cluster required = none
auth service required = none
auth client required = none
ms bind msgr2 = false
ms bind port min = {osd_port}
ms bind port max = {osd_port_last}
ms type = async+posix
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}
admin socket =
pid file =
keyring = {folder}/keyring
log file = {folder}/$name.log
log to stderr = false
err to stderr = true
mon cluster log file = {folder}/cluster.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
osd heartbeat interval = 1
osd tick interval = 1
client mount timeout = 60
[mon.a]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = {store}
osd class load list = *
osd class default list = *
osd class update on start = false
osd crush update on start = false
memstore device bytes = {bytes}
bluestore block size = {bytes}
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint={address}:{port}{tls_frontend}
rgw dns name = s3.localhost
rgw thread pool size = 16
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw enable usage log = false
rgw enable ops log = false
rgw run sync thread = false
rgw bucket index max aio = 8
rgw override bucket index max shards = 1
{sts}
"""

STS = "rgw sts key = abcdefghijklmnop\nrgw s3 auth use sts = true"


def allow(effect):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **effect}]})


def configure(keeper, options):
    """Writes the configuration; returns the ports by name."""
    mon, osd, http, https = keepers.free_ports(4)
    tls = options.get("tls")  # (certificate, key)
    front = f" ssl_endpoint=127.0.0.1:{https} ssl_certificate={tls[0]} ssl_private_key={tls[1]}" if tls else ""
    text = CONFIGURATION.format(fsid=uuid.uuid4(), mon_port=mon, osd_port=osd, osd_port_last=osd + 200, port=http,
                                folder=keeper.folder, store=options.get("store", "memstore"), tls_frontend=front,
                                address=options.get("address", "127.0.0.1"), bytes=options.get("bytes", 4 << 30), sts=STS if options.get("sts") else "")
    (keeper.folder / "ceph.conf").write_text(text)
    (keeper.folder / "keyring").touch()
    return {"mon": mon, "http": http, "https": https if tls else None}


def start_monitor(keeper, port):
    folder = keeper.folder
    fsid = next(line.split()[-1] for line in (folder / "ceph.conf").read_text().splitlines() if line.startswith("fsid"))
    keeper.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:127.0.0.1:{port}]", folder / "monmap")
    (folder / "mon").mkdir()
    common = ["-c", folder / "ceph.conf", "-i", "a"]
    keeper.run("ceph-mon", "--mkfs", *common, "--monmap", folder / "monmap")
    keeper.start("mon", "ceph-mon", "-f", *common)
    return ["ceph-mon", "-f", *common]
    keeper.wait_until(lambda: keepers.listens(port), "the monitor")


def command(cluster, prefix, **arguments):
    """A monitor's command; its answer."""
    asked = json.dumps({"prefix": prefix, "format": "json", **arguments})
    end = time.monotonic() + keepers.READY_S
    while True:
        code, output, text = cluster.mon_command(asked, b"", timeout=int(keepers.READY_S))
        if code == 0:
            return json.loads(output) if output.strip() else None
        if text != "wrong fsid" or time.monotonic() > end:  # that: a client that has no map of the monitors yet
            raise keepers.Died(f"{prefix}: {text}")


def start_osd(keeper, cluster):
    folder, osd_uuid = keeper.folder, str(uuid.uuid4())
    (folder / "osd").mkdir()
    (folder / "osd" / "fs_fsid").write_text(osd_uuid + "\n")
    number = command(cluster, "osd new", uuid=osd_uuid)["osdid"]
    common = ["-c", folder / "ceph.conf", "-i", number]
    keeper.run("ceph-osd", "--mkfs", *common, "--osd-uuid", osd_uuid)
    command(cluster, "osd crush add", id=number, weight=1.0, args=["host=localhost", "root=default"])
    keeper.start("osd", "ceph-osd", "-f", *common)
    keeper.wait_until(lambda: command(cluster, "osd stat")["num_up_osds"] == 1, "the OSD")
    return ["ceph-osd", "-f", *common]


def admin(keeper, *args):
    return keeper.run("radosgw-admin", "-c", keeper.folder / "ceph.conf", "-n", "client.rgw", *args)


def make_role(keeper):
    """A role whose sessions may do all of S3 and which the user may take on."""
    admin(keeper, "caps", "add", "--uid=test", "--caps=user-policy=*;roles=*")
    name = f"--role-name={ROLE.split('/')[-1]}"
    admin(keeper, "role", "create", name, "--assume-role-policy-doc=" + allow(
        {"Principal": {"AWS": ["arn:aws:iam:::user/test"]}, "Action": ["sts:AssumeRole"]}))
    admin(keeper, "role-policy", "put", name, "--policy-name=all", "--policy-doc=" + allow(
        {"Action": ["s3:*"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}))


def start(keeper, options):
    import rados
    ports = configure(keeper, options)
    again = {"mon": start_monitor(keeper, ports["mon"])}
    cluster = rados.Rados(conffile=str(keeper.folder / "ceph.conf"), name="client.admin")
    try:
        cluster.connect(timeout=int(keepers.READY_S))
        again["osd"] = start_osd(keeper, cluster)
    except rados.Error as error:
        raise keepers.Died(f"librados: {error}") from error
    finally:
        cluster.shutdown()
    admin(keeper, "user", "create", "--uid=test", "--display-name=test", f"--access-key={ACCESS_KEY}",
          f"--secret-key={SECRET_KEY}")
    if options.get("sts"):
        make_role(keeper)
    again["radosgw"] = ["radosgw", "-f", "-c", keeper.folder / "ceph.conf", "-n", "client.rgw"]
    keeper.start("radosgw", *again["radosgw"])
    address = options.get("address", "127.0.0.1")
    for host, port in ((address, ports["http"]), ("127.0.0.1", ports["https"])):
        keeper.wait_until(lambda: port is None or keepers.listens(port, host), "radosgw")
    keeper.again = again if options.get("again") else {}
    return {"endpoint": f"http://{address}:{ports['http']}", "named": f"http://s3.localhost:{ports['http']}",
            "tls": f"https://127.0.0.1:{ports['https']}" if ports["https"] else None,
            "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "role": ROLE if options.get("sts") else None}
