# What a row costs, by the number of rows: lineitem as csv with a header, by loader and by COPY into a table of the
# same definition, in turn. Prints seconds and processor seconds (of all of the server), for a million rows, and for each
# further million after the next smaller size, which is without what any load takes: linear is where that is the same.
#   usage: sizes.py --dsn URL --tmp DIR --data FILE [--rows '200000 2000000 20000000'] [--runs 3] [--workers 1,2] [--only REGEX]
# FILE: lineitem as csv with a header, of as many rows as the largest size. DIR has room for the other ones; the server
# for the table and its log.
import argparse, os, re, shutil, statistics as st, subprocess, sys, time
import psycopg
from common import COLS, ServerCpu, lineitem_package, link

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
    if n == sizes[-1]:
        link(a.data, path)
        return path
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

print("| | rows | seconds | of processor | seconds a million | of processor | a further million, seconds | of processor |\n|---|---|---|---|---|---|---|---|")
further = {}
for name, _ in ways:
    before = (0, 0, 0)
    for n in sizes:
        t, c = (st.median(x[i] for x in got[name, n]) for i in (0, 1))
        more = [(x - y) / (n - before[0]) * 1e6 for x, y in ((t, before[1]), (c, before[2]))]
        text = [f"{x:.3f}" for x in more] if before[0] else ["", ""]
        if before[0]:
            further.setdefault(name, []).append(more)
        print(f"| {name} | {n:,} | {t:.2f} | {c:.2f} | {t / n * 1e6:.3f} | {c / n * 1e6:.3f} | {text[0]} | {text[1]} |")
        before = n, t, c
if len(sizes) > 2:
    print(f"\nA further million rows up to {sizes[-1]:,} takes, of what one up to {sizes[1]:,} takes:")
    for name, _ in ways:
        (t0, c0), (t1, c1) = further[name][0], further[name][-1]
        print(f"- {name}: {t1 / t0:.2f} of the seconds, {c1 / c0:.2f} of the processor's")
prepare()
shutil.rmtree(folder)
