/* The manual's text of each command, in the order of their table. */
#include "clients/commands/manual.h"

#include <string.h>

const mmq_manual mmq_manuals[] = {
    {"up",
     "Runs the broker, a query, a write and a feedback worker and the HTTP adapter in one process, "
     "on one data directory, which is made if it is not there. A line on standard output says when "
     "all of them are ready, and where they listen. It is the whole service for one machine; where "
     "roles shall run on machines of their own, start each by its own command.\n\n"
     "SIGTERM and SIGINT stop it: what is in flight may finish within `--drain-timeout`. SIGHUP "
     "reads keys again (`--curve`, `--api-keys`).",
     {{"metricmq up --data metrics", "everything on the loopback, the store in metrics/"},
      {"metricmq up --import cpu.csv", "with rows of a file, imported before it is ready"}},
     "demo import status"},
    {"broker",
     "Takes requests of clients at `--bind` and hands them to the workers at `--bind-workers`. It "
     "keeps nothing on disk and knows nothing of other brokers: there may be several, and clients "
     "and workers name them all in `--connect`.\n\n"
     "Addresses beyond the loopback want keys (`--curve`, see `metricmq keygen`), or `--insecure`. "
     "SIGHUP reads the lists of keys again.",
     {{"metricmq broker", "on the loopback"},
      {"metricmq broker --curve keys --bind tcp://*:5750",
       "for clients on other machines, with keys"}},
     "worker http keygen status"},
    {"worker",
     "Runs one worker: `query` reads the store, `write` changes it, `feedback` dumps metrics into "
     "archives and uploads them. A store has one write worker at a time (a second one waits until "
     "the first is gone) and as many query workers as the machine bears, in processes on the "
     "machine that has the file.\n\n"
     "It serves every broker of `--connect`, and finds one that was away within seconds of its "
     "return. SIGTERM and SIGINT stop it after what it has begun, within `--drain-timeout`.",
     {{"metricmq worker write --data metrics", "the writer of the store in metrics/"},
      {"metricmq worker query --connect tcp://a:5751,tcp://b:5751", "a reader for two brokers"}},
     "broker spool check"},
    {"http",
     "Serves HTTP/1.1 at `--http` and asks the brokers of `--connect`. It holds no rows: answers "
     "are streamed at their readers' pace.\n\n"
     "An address beyond the loopback wants keys (`--api-keys`, see `metricmq key`; "
     "METRICMQ_API_KEY), or `--insecure`. Where clients reach it by a DNS name, give that name as "
     "`--http-host`. SIGHUP reads the file of keys again.",
     {{"metricmq http", "on the loopback, for the broker there"},
      {"metricmq http --http 0.0.0.0:8080 --http-host m.example --api-keys keys",
       "for the network, by name, with keys"}},
     "key broker"},
    {"check-config",
     "Looks at the configuration of a role without starting it: give the command line that would "
     "start it behind `check-config`, in the environment and as the user that it would have. All "
     "that would keep the role from starting is said, a line each, and the exit status is 2 then: "
     "values that are none, options and keys of the file that do not exist, addresses that are not "
     "this machine's or want keys, files that cannot be read or trusted, certificates and lists of "
     "keys that are damaged, a data directory that cannot be written. Warnings do not count. An "
     "address that is in use does not either, for it may be the role's that runs.\n\n"
     "What holds goes to standard output, `key = value` with where it is from, as a file of "
     "`--config` would have it; secrets are not shown. It makes nothing, asks no other machine and "
     "does not read the store, which `metricmq check` does.",
     {{"metricmq check-config broker", "a broker, as the environment has it"},
      {"metricmq check-config worker write --data metrics", "the writer of the store in metrics/"}},
     "up broker worker http"},
    {"key",
     "Makes a key for HTTP clients and prints it, once: it is kept nowhere. What is kept is a line "
     "with the key's name, rights and hash, which goes into the file of `--api-keys`, or without "
     "that option to standard output behind the key. Send SIGHUP to the adapter afterwards; to "
     "revoke a key, remove its line.\n\n"
     "Rights are `read`, `write`, `feedback` and `admin` (which opens /metrics); none implies "
     "another.",
     {{"metricmq key grafana --rights read --api-keys keys", "a key that may read"},
      {"metricmq key phones --rights read,feedback", "its line printed, for a file elsewhere"}},
     "http keygen"},
    {"import",
     "Makes a metric of each CSV file and sends its rows to the write worker. The first line names "
     "the columns: `timestamp` (`YYYY-MM-DD HH:MM:SS` UTC, or seconds since the epoch) and `value` "
     "are needed, `anomaly_score` and `raw_score` may be there, others are passed over.\n\n"
     "A file is checked to its end before anything is sent, so one with a bad row loads nothing. "
     "The same file again adds only what is new in it; one that says otherwise of rows that are "
     "there is refused. Prints uid, name and rows, a line a file.",
     {{"metricmq import cpu.csv", "the metric is called cpu"},
      {"metricmq import cpu.csv --uid cpu.2 --name cpu-2 --location rack-7",
       "with a uid and texts of your own"}},
     "demo models query"},
    {"demo",
     "Makes metrics to try things with: rhythms of days and weeks, noise, gaps and incidents with "
     "high anomaly scores, a row each five minutes from 2026-01-01 on. The same `--seed` makes the "
     "same rows, and more `--rows` than before add to those that are there.",
     {{"metricmq demo", "10 metrics, two weeks of each"},
      {"metricmq demo --metrics 100 --rows 1000", "100 metrics of 1,000 rows"}},
     "import load"},
    {"models",
     "Prints the records of the metrics, one with a UID, ordered by uid: what they are called, "
     "where they come from, how many rows they have, when the last one was. Metrics that are not "
     "monitored are there too.",
     {{"metricmq models", "a table"},
      {"metricmq models UID --format json", "one record, for programs"}},
     "query import"},
    {"query",
     "Prints rows of one metric, or of all: uid, time, value, anomaly score and number. They "
     "descend in time, newest first, unless there is a `--from`. All rows of an answer are of one "
     "moment of the store, however long it takes to read them.\n\n"
     "Without `--anomaly` only rows that have a score are shown; a negative one shows all. If the "
     "broker is lost on the way, the stream goes on from where it was at the next broker of "
     "`--connect`. Exit status 1 says that not all rows were printed, or that there is no such "
     "metric.",
     {{"metricmq query UID --limit 5", "the newest five rows"},
      {"metricmq query UID --from 2026-01-01 --to 2026-01-02 --anomaly -1",
       "a day, with and without score"},
      {"metricmq query --anomaly 0.9 --format csv", "incidents of all metrics"}},
     "models watch"},
    {"watch",
     "Prints rows as they come, until it is interrupted (Ctrl-C, exit status 0): of one metric, or "
     "of all. What is there already is not shown. With `--anomaly` rows are shown when they have "
     "a score of at least that (0: any score), without it at once. `--format json` is an object a "
     "line.\n\n"
     "The write worker tells what changes (service `metric.watch`), so nothing is asked while "
     "nothing happens. While the broker or a worker is away it waits, and then shows what was "
     "missed. Rows are shown in the order of time: one that comes with a time before that of the "
     "metric's last row shown, or whose score comes after that of a later row, is not.",
     {{"metricmq watch", "all rows of all metrics"},
      {"metricmq watch UID --anomaly 0.9 --format csv", "incidents of one metric, for a script"}},
     "query status"},
    {"feedback",
     "Asks a feedback worker for a dump of the metric with all its rows: an archive, which is "
     "uploaded to where the worker was told (`--upload`). Prints the archive's key there.\n\n"
     "An archive that cannot be uploaded at once is kept by the worker and tried again, which is "
     "said on standard error; `--wait` waits until it has got there. `metricmq spool` shows what "
     "waits, and why.",
     {{"metricmq feedback UID --extra ticket=4711", "with a note in the archive"},
      {"metricmq feedback UID --wait --format json", "returns when it is uploaded"}},
     "spool worker"},
    {"status",
     "Shows what the broker knows: services, their workers, what is busy, queued and served; and "
     "what the feedback workers have still to upload.",
     {{"metricmq status", "once, as a table"},
      {"metricmq status --format json", "all that there is, for programs"}},
     "broker load"},
    {"keygen",
     "Makes a pair of CURVE keys in the folder of `--curve`, which is the broker's: `server` its "
     "own, `client NAME` and `worker NAME` those of peers, with their rights in the public half. "
     "Nothing is overwritten.\n\n"
     "Move NAME.cert_secret to the peer (its `--curve-key`), with a copy of server.cert (its "
     "`--curve-server`). NAME.cert stays where it was made: it is what lets the peer in, and "
     "removing it (and SIGHUP) shuts the peer out.",
     {{"metricmq keygen --curve keys server", "the broker's pair, first of all"},
      {"metricmq keygen --curve keys client grafana --rights read", "a client that may read"},
      {"metricmq keygen --curve keys worker query1 --services metric.query",
       "a worker of one service"}},
     "broker key"},
    {"spool",
     "Works on the archives in the data directory that are not uploaded yet, beside running "
     "workers or without. `list` shows them: state, age, attempts, when they are tried next and "
     "the last error. `retry` makes them due at once, all or those that are named, and puts back "
     "what is in quarantine. `drop` throws those away that are named.\n\n"
     "A NAME may be cut to what no other begins with. What somebody is at is left alone.",
     {{"metricmq spool list", "what waits, and why"},
      {"metricmq spool retry", "now, please: the network is back"}},
     "feedback worker"},
    {"check",
     "Reads the whole store and says `whole`, or names each fault, a line each, and what is "
     "`damaged`; exit status 1 then. It only reads, and may run beside workers: it looks at one "
     "moment of the store.",
     {{"metricmq check --data metricmq-data", "how far it is shows on a terminal"}},
     "migrate worker"},
    {"migrate",
     "With `--from` and `--to` it copies a store into another one, from SQLite to PostgreSQL, "
     "back, "
     "or within either. The old store's workers may go on serving and writing; run it as often as "
     "you like, it copies what differs and says what has changed since. Then stop the write "
     "workers "
     "and run it with `--finish`: it copies the rest, compares both stores, checks the copy and "
     "makes it a store. Until then nobody else opens it. Killed at any time, the same command goes "
     "on. A target that is a store already is compared only, and never changed.\n\n"
     "Without them it brings a store that an earlier version made to the form of this one, in "
     "place. The write worker does that by itself when it starts; by hand it is done while no "
     "worker runs, with its progress in view. It may be killed at any time, and goes on the next "
     "time.",
     {{"metricmq migrate --from sqlite:old.db --to sqlite:new.db --finish",
       "the write workers of old.db are stopped"},
      {"metricmq migrate --data metricmq-data", "nothing happens if there is nothing to do"}},
     "check backup"},
    {"backup",
     "Writes a copy of the store as of one commit, checks it as `metricmq check` does, and only "
     "then gives it the name FILE: a file of that name is whole, and holds every row that was "
     "acknowledged before the command began. It works on the store's file itself, with workers or "
     "without. A FILE that exists is not replaced.\n\n"
     "Archives in the spool, keys and configuration are not in it. `metricmq check --store "
     "sqlite:FILE` looks at it again. Stopped by a signal or by a "
     "full disk it leaves nothing; exit status 1 then, with a sentence that says why.",
     {{"metricmq backup --data metricmq-data saved.db", "of the store in metricmq-data/"}},
     "restore check"},
    {"restore",
     "Makes a copy of FILE the store. FILE is a backup, or a store that was put aside, of this "
     "release or an earlier one; it stays as it is. The copy is made, brought to the current form "
     "and checked before anything of what is there is touched.\n\n"
     "Stop all workers first: it refuses while any process has the store open. A store that is "
     "there is refused too, or with `--keep-old` put aside under another name, which is printed. "
     "Cursors and states of before do not count any more.",
     {{"metricmq restore --data new saved.db", "into new/, which is made if it is not there"},
      {"metricmq restore --data new --keep-old saved.db", "over a store, which is put aside"}},
     "backup check"},
    {"prune",
     "Removes rows from before a time, of one metric or of all. It asks the write worker for one "
     "small piece after the other, with pauses between them, so that others hardly notice; how far "
     "it is shows on a terminal. Stopped by a signal it says what is gone; the same command goes "
     "on. There is no way back but a backup.\n\n"
     "Rowids stay as they are. Streams that had such rows still to show end with status 410. The "
     "space goes back to the file system bit by bit. `up --retain DAYS` (and `worker write "
     "--retain`) does it by itself.",
     {{"metricmq prune --before 2026-01-01 --dry-run", "what would go"},
      {"metricmq prune UID --before \"2026-01-01 12:00:00\"", "rows of one metric"},
      {"metricmq prune --before 2026-01-01 --fast", "without pauses, at night"}},
     "backup worker"},
    {"load",
     "Plays many clients that ask, check every answer and time it, and prints a report. With "
     "`--rate` requests come on a schedule, whether the system keeps up or not (an open loop); "
     "without it each answer starts the next request (a closed one, `--concurrency` under way). "
     "`--op echo` with `--workers` measures a broker alone, without store and rows.\n\n"
     "Exit status 1 says that something was not answered, or answered wrongly.",
     {{"metricmq load", "reads metrics for ten seconds"},
      {"metricmq load --rate 500 --clients 200 --duration 1m", "500 requests a second"},
      {"metricmq load --op echo --workers 100 --capacity 16 --concurrency 400",
       "the broker alone"}},
     "demo status"},
};

const size_t mmq_manuals_count = sizeof mmq_manuals / sizeof *mmq_manuals;

const mmq_manual *mmq_manual_find(const char *command)
{
    for (size_t i = 0; i < mmq_manuals_count; i++) {
        if (strcmp(mmq_manuals[i].command, command) == 0) {
            return &mmq_manuals[i];
        }
    }
    return NULL;
}
