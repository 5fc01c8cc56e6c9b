"""Uploads of a large archive to a real object store (Ceph's radosgw): a multipart upload whose parts' hashes are in
the manifest, against curl's one PUT of the same file, which hashes nothing (UNSIGNED-PAYLOAD)."""
import json
import os
import sys
import tempfile
import unittest

import bench
import harness

sys.path.insert(0, str(harness.SOURCE / "tests" / "s3"))
import engines  # noqa: E402

PINNED = False  # the store wants CPUs of its own
MIB = 1 << 20
BUCKET = "bench"


def put(engine, path):
    """The CPU time is the delivery's alone: put_object takes the sums that a manifest has before it begins."""
    keys = [f"{name}={value}" for name, value in engine.environment(S3_ENDPOINT=engine.endpoint, S3_PATH_STYLE=1).items()]
    done = bench.run(["env", *keys, bench.tool("put_object"), path, f"s3://{BUCKET}", "ours.tar.gz"])
    outcome = json.loads(done["out"])
    if outcome["result"] != "MMQ_OK":
        raise bench.Failed(f"put_object: {outcome['why']}")
    return {**done, "put_cpu": outcome["cpu_s"]}


def curl(engine, path):
    return bench.run(["curl", "-sS", "--fail", "-o", "/dev/null", "--aws-sigv4", f"aws:amz:{engines.REGION}:s3",
                      "-u", f"{engine.access_key}:{engine.secret_key}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
                      "-T", path, f"{engine.endpoint}/{BUCKET}/curl.tar.gz"])


def main(options, report):
    size = options.sizes.upload_mib * MIB
    try:
        engine = engines.radosgw(store="bluestore")
    except unittest.SkipTest as reason:
        report.show(f"  left out: {reason}")
        return
    with engine, tempfile.NamedTemporaryFile(prefix="metricmq-bench-") as file:
        engine.client().make_bucket(BUCKET)
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        samples = bench.rounds(options.repeats, {"put": lambda: put(engine, file.name),
                                                 "curl": lambda: curl(engine, file.name)})
    report.show(f"  {size // MIB} MiB")
    report.compare("upload_cpu", "s CPU", bench.values(samples["put"], lambda sample: sample["put_cpu"]),
                   bench.values(samples["curl"], lambda sample: sample["cpu"]), "ratio <= 1.5")
    report.compare("upload_process", "s CPU", bench.values(samples["put"], lambda sample: sample["cpu"]),
                   bench.values(samples["curl"], lambda sample: sample["cpu"]))
    report.compare("upload_wall", "s", bench.values(samples["put"], lambda sample: sample["wall"]),
                   bench.values(samples["curl"], lambda sample: sample["wall"]))
