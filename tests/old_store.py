"""Stores as metricmq made them at schema version 1, when rows lay one by one in a table."""
import math
import sqlite3

SCHEMA = """
CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL, commit_no INTEGER NOT NULL,
  created INTEGER NOT NULL) STRICT;
CREATE TABLE metric (key INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, made INTEGER NOT NULL,
  changed INTEGER NOT NULL, last_rowid INTEGER NOT NULL DEFAULT 0, last_timestamp INTEGER,
  unscored INTEGER NOT NULL DEFAULT 0, forgotten INTEGER NOT NULL DEFAULT 0, status INTEGER NOT NULL,
  poll_interval INTEGER NOT NULL, datasource TEXT NOT NULL, identity TEXT NOT NULL, name TEXT NOT NULL,
  description TEXT NOT NULL, server TEXT NOT NULL, location TEXT NOT NULL, parameters TEXT NOT NULL, message TEXT,
  tag_name TEXT, UNIQUE (datasource, identity)) STRICT;
CREATE INDEX metric_unscored ON metric (status, unscored) WHERE unscored > 0;
CREATE TABLE row (metric INTEGER NOT NULL, timestamp INTEGER NOT NULL, rowid INTEGER NOT NULL, value ANY NOT NULL,
  anomaly_score ANY, raw_score ANY, PRIMARY KEY (metric, timestamp, rowid)) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX row_by_rowid ON row (metric, rowid);
CREATE TABLE growth (metric INTEGER NOT NULL, commit_no INTEGER NOT NULL, before_rowid INTEGER NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (metric, commit_no)) WITHOUT ROWID, STRICT;
CREATE INDEX growth_at ON growth (at);
CREATE TABLE doomed (metric INTEGER PRIMARY KEY) STRICT;
"""


def make(path, metrics, commit=7):
    """Makes a store. metrics: uid -> rows [(timestamp, value, anomaly_score, raw_score)] by rowid; a uid that
    begins with "-" is a deleted metric, whose rows are still there."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA auto_vacuum = INCREMENTAL; BEGIN;" + SCHEMA)
    db.execute("INSERT INTO store VALUES (1, 4711, ?, 1400000000)", (commit,))
    for key, (uid, rows) in enumerate(metrics.items(), 1):
        if uid.startswith("-"):
            db.execute("INSERT INTO doomed VALUES (?)", (key,))
        else:
            unscored = sum(1 for row in rows if row[2] is None)
            last = max((row[0] for row in rows), default=None)
            db.execute("INSERT INTO metric (key, uid, made, changed, last_rowid, last_timestamp, unscored, status,"
                       " poll_interval, datasource, identity, name, description, server, location, parameters)"
                       " VALUES (?, ?, 1, ?, ?, ?, ?, 1, 300, 'custom', ?, ?, '', ?, '', '{}')",
                       (key, uid, commit, len(rows), last, unscored, uid, uid, uid))
        db.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?)",
                       ((key, row[0], rowid, float(row[1]), row[2], row[3]) for rowid, row in enumerate(rows, 1)))
    for line in ("PRAGMA application_id = 0x6d6d7131", "PRAGMA user_version = 1", "COMMIT", "PRAGMA journal_mode = WAL"):
        db.execute(line)
    db.close()


def rows(random, count, start=1400000000):
    """Rows as files have them: repeated times, steps back, scores that are missing, -0.0."""
    made, time = [], start
    for i in range(count):
        time += random.choice((300, 300, 300, 300, 300, 0, -900 if i % 50 == 0 else 300))
        value = random.choice((-0.0, round(random.uniform(-50, 50), 2), random.random(), float(i)))
        score = None if random.random() < 0.2 else round(random.random(), 3)
        made.append((time, value, score, None if random.random() < 0.5 else random.random()))
    return made


def same(a, b):
    """Doubles of the same bits, or both absent."""
    return a is b or (a is not None and b is not None and a == b and math.copysign(1, a) == math.copysign(1, b))
