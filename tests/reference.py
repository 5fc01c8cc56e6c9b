"""The slow, obvious answer to every query: what metricmq's streams are compared with."""
import calendar
import csv
import time


def read_time(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


def time_text(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def read_csv(path):
    """Rows (rowid, timestamp, value, anomaly_score | None, raw_score | None) in the file's order."""
    with open(path, newline="") as file:
        return [(number, read_time(row["timestamp"]), float(row["value"]),
                 float(row["anomaly_score"]) if row.get("anomaly_score") else None,
                 float(row["raw_score"]) if row.get("raw_score") else None)
                for number, row in enumerate(csv.DictReader(file), 1)]


def select(metrics, uid=None, begin=None, end=None, anomaly=None, limit=None, rowid=None, order="time"):
    """Rows (uid, timestamp, value, anomaly_score, rowid) as docs/protocol.md has them.

    metrics: {uid: rows as read_csv makes them}.
    """
    ascending = begin is not None
    sign = 1 if ascending else -1
    least, most = (-1e18 if begin is None else begin), (1e18 if end is None else end)
    chosen = []
    for name in sorted(metrics) if uid is None else [uid] if uid in metrics else []:
        rows = [(name, t, v, s, r) for r, t, v, s, _ in metrics[name]
                if least <= t <= most and (rowid is None or r == rowid) and shows(s, anomaly)]
        rows.sort(key=lambda row: (row[1], row[4]), reverse=not ascending)
        chosen.append(rows[:limit] if limit else rows)
    merged = [row for rows in chosen for row in rows]
    if order == "time":  # a stable sort: ties stay in the order of uid, then of the metric's rows
        merged.sort(key=lambda row: sign * row[1])
    return merged


def shows(score, anomaly):
    if anomaly is not None and anomaly < 0:
        return True
    return score is not None and score >= (anomaly or 0)


def number(value):
    """The text of a double: Python's repr, whole numbers without .0 but for negative zero."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") and text != "-0.0" else text


def json_rows(rows):
    return ", ".join('["%s", %s, %s, %d]' % (time_text(t), number(v), "null" if s is None else number(s), r)
                     for _, t, v, s, r in rows)


def json_metric(rows):
    """The exact text of one metric's JSON answer."""
    return '{"data": [%s], "names": ["timestamp","value","anomaly_score","rowid"]}' % json_rows(rows)


def json_metrics(rows):
    """The exact text of all metrics' JSON answer; rows in order "metric"."""
    groups = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    text = ", ".join('{"uid": "%s", "data": [%s]}' % (uid, json_rows(group)) for uid, group in groups.items())
    return '{"metrics": [%s], "names": ["timestamp","value","anomaly_score","rowid"]}' % text
