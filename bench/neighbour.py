# Is a load a good neighbour? pgbench alone, beside COPY csv of lineitem in a loop, and beside loads of the same rows in
# a loop, in turn: without a limit, and at a fixed rate that leaves room. Then, without pgbench, what one load writes
# to the log and takes of shared_buffers, which others have filled.
#   usage: neighbour.py --dsn URL --tmp DIR --data FILE --pgbin DIR [--rows 2000000] [--runs 3] [--seconds 30]
#                       [--scale 20] [--clients 4] [--rate 0] [--max-rate 0] [--only REGEX]
# FILE: lineitem as csv with a header, of ROWS rows. --rate: transactions a second; 0: half of what pgbench alone does
# without a limit. --max-rate: loader.max_rate of one of the loads, in kB; 0: what COPY takes of the file, alone.
import argparse, glob, os, re, shutil, statistics as st, subprocess, sys, threading, time
import psycopg
from common import COLS, lineitem_package

a = argparse.ArgumentParser()
for k, d in dict(dsn=None, tmp=None, data=None, pgbin=None, rows=2_000_000, runs=3, seconds=30, scale=20, clients=4, rate=0, max_rate=0, only=".").items():
    a.add_argument("--" + k.replace("_", "-"), default=d, type=type(d) if d is not None else str, required=d is None)
a = a.parse_args()
db = psycopg.connect(a.dsn, autocommit=True)
db.execute("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS pg_buffercache; CREATE EXTENSION IF NOT EXISTS pg_prewarm")
q = lambda s, *p: db.execute(s, p).fetchone()[0]
folder = f"{a.tmp}/neighbour"
os.makedirs(folder, exist_ok=True)
MB = 1e6


# --- loads ----------------------------------------------------------------------------------------

def reset(c):
    c.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench; DROP SCHEMA IF EXISTS dlt_bench CASCADE")


def ready(c):
    """The table is there, and empty."""
    reset(c)
    c.execute(f"CREATE SCHEMA dlt_bench; CREATE TABLE dlt_bench.li ({COLS})")


def copy(c, timed):
    reset(c)
    c.execute(f"CREATE TABLE bench.li ({COLS})")
    timed(lambda: c.execute(f"COPY bench.li FROM '{a.data}' (FORMAT csv, HEADER)"))


def loader(c, timed, workers=2, max_rate=0, prepare=reset, disposition="append"):
    path = lineitem_package(folder, a.data, disposition=disposition)
    prepare(c)
    c.execute(f"SET client_min_messages = error; SET loader.workers = {workers}; SET loader.max_rate = {max_rate}")
    timed(lambda: c.execute("CALL loader_run(%s, dataset => 'dlt_bench')", (path,)))
    shutil.rmtree(path)


def replaced(c):
    """The table has the rows already."""
    loader(c, lambda call: call())


class Loop(threading.Thread):
    """A load again and again; counts the rows of those that came to their end, and the time until then."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.stop, self.rows, self.busy, self.error = load, threading.Event(), 0, 0.0, None

    def run(self):
        def timed(call):
            call()
            self.rows += a.rows
        try:
            with psycopg.connect(a.dsn, autocommit=True) as c:
                c.execute("SET client_min_messages = error")
                begin = time.perf_counter()
                while not self.stop.is_set() or self.rows == 0:
                    self.load(c, timed)
                    self.busy = time.perf_counter() - begin
        except Exception as e:
            self.error = e

    def rate(self):
        if self.error:
            raise self.error
        return self.rows / self.busy


# --- pgbench --------------------------------------------------------------------------------------

def pgbench(*options):
    return subprocess.run([f"{a.pgbin}/pgbench", "-n", *options, a.dsn], capture_output=True, text=True)


def init():
    r = subprocess.run([f"{a.pgbin}/pgbench", "-i", "-q", "-s", str(a.scale), a.dsn], capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr)
    db.execute("VACUUM (FREEZE, ANALYZE) pgbench_accounts")


def quiet():
    """As before each run: tables small and in memory, nothing left to be written."""
    reset(db)
    db.execute("TRUNCATE pgbench_history")
    for t in "branches", "tellers":
        db.execute(f"VACUUM (ANALYZE) pgbench_{t}")
    for r in "pgbench_accounts", "pgbench_accounts_pkey", "pgbench_branches", "pgbench_tellers":
        db.execute("SELECT pg_prewarm(%s::regclass)", (r,))
    db.execute("CHECKPOINT")
    os.sync()


def bench(rate, load):
    """Of one run: transactions a second, latencies in ms, rows a second of the load."""
    quiet()
    loop = Loop(load) if load else None
    if loop:
        loop.start()
    limit = ["-R", f"{rate:.0f}"] if rate else []
    try:
        r = pgbench("-c", str(a.clients), "-j", "2", "-T", str(a.seconds), "-l", "--log-prefix", f"{folder}/log", *limit)
    finally:
        if loop:
            loop.stop.set()
            loop.join()
    if r.returncode:
        sys.exit(r.stderr)
    ms = []
    for f in glob.glob(f"{folder}/log.*"):
        # of the time, which counts from when the transaction was due, if there is a rate
        ms += [int(x.split()[2]) / 1000 for x in open(f) if x.split()[2].isdigit()]
        os.unlink(f)
    ms.sort()
    at = lambda share: ms[min(int(len(ms) * share), len(ms) - 1)]
    return [len(ms) / a.seconds, sum(ms) / len(ms), at(.95), at(.99), ms[-1], loop.rate() if loop else None]


# --- shared buffers and log --------------------------------------------------------------------------

OURS = """SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('bench', 'dlt_bench')"""


def fill():
    """A table as large as shared_buffers, with pgbench's: no buffer is free."""
    pages = q("SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'")
    db.execute("DROP TABLE IF EXISTS filler; CREATE TABLE filler (t text) WITH (fillfactor = 10, autovacuum_enabled = off)")
    db.execute("ALTER TABLE filler ALTER t SET STORAGE PLAIN")
    db.execute("INSERT INTO filler SELECT repeat('x', 4100) FROM generate_series(1, %s)", (pages,))
    db.execute("VACUUM (FREEZE) filler")


def held():
    """Buffers of others, as sets of relation and block; how many are of the load's tables."""
    others = set(db.execute("""SELECT relfilenode, relforknumber, relblocknumber FROM pg_buffercache b WHERE relfilenode IS NOT NULL
        AND reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relfilenode IN (SELECT pg_relation_filenode(oid) FROM pg_class WHERE relname ~ '^(pgbench|filler)')""").fetchall())
    ours = q(f"""SELECT count(*) FROM pg_buffercache b WHERE reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relfilenode IN (SELECT pg_relation_filenode(oid) FROM ({OURS}) o)""")
    return others, ours


def alone(load):
    """Of one load without pgbench: seconds, MB of log, MB of buffers that it has, and that others have lost."""
    got = []

    def timed(call):
        db.execute("SELECT pg_prewarm('filler')")
        quiet_tables = "pgbench_accounts", "pgbench_accounts_pkey"
        for r in quiet_tables:
            db.execute("SELECT pg_prewarm(%s::regclass)", (r,))
        db.execute("CHECKPOINT")
        before, had = held()
        lsn, t = q("SELECT pg_current_wal_insert_lsn()"), time.perf_counter()
        call()
        t, wal = time.perf_counter() - t, q(f"SELECT pg_current_wal_insert_lsn() - '{lsn}'::pg_lsn")
        after, ours = held()
        got.append((t, float(wal) / MB, ours * 8192 / MB, len(before - after) * 8192 / MB))
    quiet()
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute("SET client_min_messages = error")
        load(c, timed)
    return got[0]


# --- the tables -------------------------------------------------------------------------------------

medians = lambda runs: [None if x[0] is None else st.median(x) for x in zip(*runs)]
init()
fill()
if not a.max_rate:
    a.max_rate = int(os.path.getsize(a.data) / 1024 / st.median(alone(copy)[0] for _ in range(3)))
LOADS = [("nothing", None), ("COPY csv", copy),
         ("loader, one process", lambda c, timed: loader(c, timed, 1)),
         ("loader, two workers", lambda c, timed: loader(c, timed, 2)),
         (f"loader, two workers, max_rate {a.max_rate} kB", lambda c, timed: loader(c, timed, 2, a.max_rate))]
LOADS = [x for x in LOADS if re.search(a.only, x[0])]
if not a.rate:
    a.rate = int(st.median(bench(0, None)[0] for _ in range(min(a.runs, 3))) / 2)
for rate in 0, a.rate:
    got = {n: [] for n, _ in LOADS}
    for r in range(a.runs):
        for name, load in LOADS:
            x = bench(rate, load)
            got[name].append(x)
            print(f"run {r + 1}, {'rate ' + str(rate) if rate else 'no limit'}, beside {name}: {x[0]:.0f} tps, {x[1]:.2f} ms", file=sys.stderr, flush=True)
    print(f"pgbench, {a.clients} clients, scale {a.scale}, {a.seconds} s, {'at ' + str(rate) + ' transactions a second' if rate else 'as fast as it can'}:\n")
    print("| beside | transactions/s | ms, average | 95 % | 99 % | longest | rows/s of the load | transactions less for a million rows |\n|---|---|---|---|---|---|---|---|")
    most = st.median(x[0] for x in got["nothing"]) if got.get("nothing") and not rate else None
    for name, _ in LOADS:
        tps, avg, p95, p99, top, rows = medians(got[name])
        less = f"{(most - tps) / rows * 1e6:.0f}" if most and rows else ""
        print(f"| {name} | {tps:.0f} | {avg:.2f} | {p95:.2f} | {p99:.2f} | {top:.1f} | {f'{rows:,.0f}' if rows else ''} | {less} |", flush=True)
    print()

ALONE = [("COPY csv", copy),
         ("loader, one process", lambda c, timed: loader(c, timed, 1)),
         ("loader, two workers", lambda c, timed: loader(c, timed, 2)),
         ("loader, a table that is there", lambda c, timed: loader(c, timed, 2, 0, ready)),
         ("loader, replaced", lambda c, timed: loader(c, timed, 2, 0, replaced, "replace"))]
ALONE = [x for x in ALONE if re.search(a.only, x[0])]
got = {n: [] for n, _ in ALONE}
for _ in range(a.runs):
    for name, load in ALONE:
        got[name].append(alone(load))
print(f"One load of {a.rows:,} rows alone, shared_buffers of {q('SHOW shared_buffers')} full of others' pages:\n")
print("| load | seconds | log, MB | of shared_buffers it has, MB | others have lost, MB |\n|---|---|---|---|---|")
for name, _ in ALONE:
    t, wal, ours, lost = medians(got[name])
    print(f"| {name} | {t:.2f} | {wal:.0f} | {ours:.1f} | {lost:.1f} |")
reset(db)
db.execute("DROP TABLE filler, pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers")
shutil.rmtree(folder)
