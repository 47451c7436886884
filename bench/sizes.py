# What a row costs, by the number of rows: lineitem as csv with a header, by loader and by COPY into a table of the
# same definition, in turn. Prints seconds and processor seconds (of all of the server) for a million rows, and what
# they are of those of the smallest size.
#   usage: sizes.py --dsn URL --tmp DIR --data FILE [--rows '200000 2000000 20000000'] [--runs 3] [--workers 1,2] [--only REGEX]
# FILE: lineitem as csv with a header, of as many rows as the largest size or more. DIR has room for all sizes once
# more; the tables need as much, and their log.
import argparse, os, re, shutil, statistics as st, subprocess, sys, time
import psycopg
from common import COLS, ServerCpu, lineitem_package

a = argparse.ArgumentParser()
for k, d in dict(dsn=None, tmp=None, data=None, rows="200000 2000000 20000000", runs=3, workers="1,2", only=".").items():
    a.add_argument("--" + k, default=d, type=type(d) if d is not None else str, required=d is None)
a = a.parse_args()
sizes = sorted(int(n) for n in a.rows.split())
db = psycopg.connect(a.dsn, autocommit=True)
db.execute("SET client_min_messages = error")
cpu = ServerCpu(db)
folder = f"{a.tmp}/sizes"
os.makedirs(folder, exist_ok=True)


def cut(n):
    """The first n rows, with the header."""
    path = f"{folder}/{n}.csv"
    with open(path, "wb") as f:
        subprocess.run(["head", "-n", str(n + 1), a.data], stdout=f, check=True)
    return path


def prepare():
    db.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench; DROP SCHEMA IF EXISTS dlt_bench CASCADE")


def measured(call, table, n):
    db.execute("CHECKPOINT")
    os.sync()
    c, t = cpu(), time.perf_counter()
    call()
    t, c = time.perf_counter() - t, cpu() - c
    rows = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    if rows != n:
        sys.exit(f"{rows} rows of {n} are in {table}")
    return t, c


def copy(file, n):
    prepare()
    db.execute(f"CREATE TABLE bench.li ({COLS}) WITH (autovacuum_enabled = off)")
    return measured(lambda: db.execute(f"COPY bench.li FROM '{file}' (FORMAT csv, HEADER)"), "bench.li", n)


def load(file, n, workers):
    path = lineitem_package(folder, file)
    prepare()
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute(f"SET loader.workers = {workers}")
        got = measured(lambda: c.execute("CALL loader_run(%s, dataset => 'dlt_bench')", (path,)), "dlt_bench.li", n)
    shutil.rmtree(path)
    return got


ways = [("COPY csv", copy)]
for w in a.workers.split(","):
    ways.append((f"loader, {w} worker{'s' if int(w) > 1 else ''}", lambda file, n, w=w: load(file, n, int(w))))
ways = [w for w in ways if re.search(a.only, w[0])]
files, got = {n: cut(n) for n in sizes}, {}
for _ in range(a.runs):
    for n in sizes:
        for name, way in ways:
            # of small ones several, or the clock of processor time would be too coarse
            times = [way(files[n], n) for _ in range(min(10, max(1, 2_000_000 // n)))]
            got.setdefault((name, n), []).append([st.mean(t) for t in zip(*times)])
            print(f"{n} rows, {name}: %.2f s, %.2f s of processor" % tuple(got[name, n][-1]), file=sys.stderr, flush=True)

print("| | rows | seconds | processor seconds | seconds for a million rows | processor seconds | against the smallest | of them, processor |\n|---|---|---|---|---|---|---|---|")
for name, _ in ways:
    first = None
    for n in sizes:
        t, c = (st.median(x[i] for x in got[name, n]) for i in (0, 1))
        per = t / n * 1e6, c / n * 1e6
        first = first or per
        share = [f"{x / y:.2f}" if y else "" for x, y in zip(per, first)]
        print(f"| {name} | {n:,} | {t:.2f} | {c:.2f} | {per[0]:.3f} | {per[1]:.3f} | {share[0]} | {share[1]} |")
prepare()
shutil.rmtree(folder)
