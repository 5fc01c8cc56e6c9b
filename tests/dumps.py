"""What a feedback dump must hold, worked out from the rows it was made of, and how its readers see it."""
import hashlib
import io
import json
import subprocess
import tarfile

HEADER = b"uid,rowid,timestamp,metric_value,raw_anomaly_score,anomaly_score,display_value,multi_step_best_predictions\r\n"


def number(value):
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text


def source_rows(random_, count):
    """(time, value, anomaly_score, raw_score) as a NAB file has them: repeated and backward times, long numbers."""
    for i in range(count):
        value = random_.choice([0, -0.0, 222, 1e16, 5e-324, random_.uniform(-1e6, 1e6), random_.random()])
        yield ("2014-04-%02d %02d:%02d:00" % (1 + i % 28, i % 24, i % 60), value, random_.random(), random_.random())


def write_csv(path, rows, scored):
    lines = ["timestamp,value" + (",anomaly_score,label,raw_score" if scored else "")]
    for when, value, score, raw in rows:
        lines.append(f"{when},{value!r}" + (f",{score!r},0,{raw!r}" if scored else ""))
    path.write_text("\n".join(lines) + "\n")


def wanted_csv(uid, rows, scored):
    if not rows:
        return b""
    lines = [",".join([uid, str(i), when, number(value), number(raw) if scored else "",
                       number(score) if scored else "", "", ""])
             for i, (when, value, score, raw) in enumerate(rows, 1)]
    return HEADER + "".join(line + "\r\n" for line in lines).encode()


def members(path):
    """(metric.json, metric_data.csv) as each reader of such files sees them: they must agree."""
    seen = []
    for mode in ("r:gz", "r|gz"):
        with tarfile.open(path, mode) as archive:
            seen.append({member.name: archive.extractfile(member).read() for member in archive})
    for program in ("tar", "bsdtar"):
        names = subprocess.run([program, "-tzf", path], check=True, capture_output=True).stdout.decode().split()
        seen.append({name: subprocess.run([program, "-xzOf", path, name], check=True, capture_output=True).stdout
                     for name in names})
    subprocess.run(["gzip", "-t", path], check=True)
    for other in seen[1:]:
        assert list(other) == list(seen[0]) == ["metric.json", "metric_data.csv"], [list(one) for one in seen]
        assert other == seen[0]
    return json.loads(seen[0]["metric.json"]), seen[0]["metric_data.csv"]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def summary(data):
    """(metric.json, SHA-256 of metric_data.csv) of an archive's bytes, read to the end: its sums are checked."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}
    assert list(found) == ["metric.json", "metric_data.csv"], list(found)
    return json.loads(found["metric.json"]), digest(found["metric_data.csv"])
