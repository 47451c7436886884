# How much memory the processes of a load take: each loads a file of lineitem that is as large as wanted, in each format.
# Memory is what a process has for itself (RssAnon), looked at about a hundred times a second; shared_buffers and the
# blocks of a parallel load, which it has mapped too, are shown apart.
#   usage: memory.py --dsn URL --tmp DIR --data FILE [--size 10] [--more 2] [--only REGEX]
# FILE: lineitem as csv with a header, 200,000 rows or more; those are written again and again. --size: GB of the csv
# file; --more: of the other ones. DIR has to have room for the largest file; DIR and the server for 3.5 times as much,
# which is asked first, as if they were one file system.
import argparse, csv, glob, json, os, re, shutil, sys, threading, time
import psycopg
from common import COLS, NAMES, ServerCpu, lineitem_package

a = argparse.ArgumentParser()
for k, d in dict(dsn=None, tmp=None, data=None, size=10.0, more=2.0, only=".").items():
    a.add_argument("--" + k, default=d, type=type(d) if d is not None else str, required=d is None)
a = a.parse_args()
BLOCK, TARGET = 200_000, 64     # rows; MB, over what a process begins with
db = psycopg.connect(a.dsn, autocommit=True)
db.execute("SET client_min_messages = error")
postmaster = ServerCpu(db).postmaster
folder = f"{a.tmp}/memory"
os.makedirs(folder, exist_ok=True)


# --- files ----------------------------------------------------------------------------------------

def rows():
    with open(a.data, newline="") as f:
        for i, row in enumerate(csv.reader(f)):
            if i > BLOCK:
                return
            if i:
                yield row


def insert_values(row):
    quoted = lambda v, kind: v if kind in "bn" else f"'{v}'" if kind == "d" else "E'%s'" % v.replace("\\", "\\\\").replace("'", "\\'")
    return "(" + ",".join(quoted(v, k) for v, k in zip(row, KINDS)) + ")"


def jsonl(row):
    return json.dumps({n: int(v) if k == "b" else v for n, v, k in zip(NAMES, row, KINDS)}, separators=(",", ":"))


KINDS = "bbbbnnnnttdddttt"       # bigint, numeric, text, date
assert len(KINDS) == len(NAMES)


def csv_block():
    with open(a.data) as f:
        return "".join(line for i, line in zip(range(BLOCK + 1), f) if i)


# what comes before the blocks, between two of them and after them; a block
FORMATS = {
    "csv": (",".join(NAMES) + "\n", "", "", csv_block),
    "insert_values": ("INSERT INTO {}(" + ",".join(f'"{n}"' for n in NAMES) + ")\nVALUES\n", ",\n", ";", lambda: ",\n".join(map(insert_values, rows()))),
    "jsonl": ("", "", "", lambda: "".join(jsonl(r) + "\n" for r in rows())),
}


def write(form, gb):
    """A file of blocks, gb GB or a little more. Returns its path and the number of rows."""
    before, between, after, block = FORMATS[form]
    block, path = block().encode(), f"{folder}/li.{form}"
    times = max(1, -(-int(gb * 1e9) // len(block)))
    with open(path, "wb") as f:
        f.write(before.encode())
        for i in range(times):
            f.write(between.encode() if i else b"")
            f.write(block)
        f.write(after.encode())
    os.chmod(path, 0o644)
    return path, BLOCK * times


# --- processes ------------------------------------------------------------------------------------

class Watch(threading.Thread):
    """Peaks of the processes of loads that the server has, by process id."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended, self.seen = threading.Event(), {}
        self.others = set(self.children())

    def children(self):
        for f in glob.glob("/proc/[0-9]*/stat"):
            try:
                s = open(f).read()
            except OSError:
                continue
            if int(s.rsplit(")", 1)[1].split()[1]) == postmaster:
                yield int(f.split("/")[2])

    def look(self, pid):
        try:
            status = dict(re.findall(r"^(\w+):\s+(\d+) kB$", open(f"/proc/{pid}/status").read(), re.M))
            title = open(f"/proc/{pid}/cmdline").read().replace("\0", " ")
        except OSError:
            return
        kind = next((k for k in ("parallel worker", "loader") if k in title), None)
        if kind is None or "RssAnon" not in status:
            return
        own, shared = int(status["RssAnon"]), int(status["RssShmem"])
        p = self.seen.setdefault(pid, dict(kind=kind, own=0, shared=0, all=0))
        p.update(own=max(p["own"], own), shared=max(p["shared"], shared), all=max(p["all"], int(status["VmHWM"])))

    def run(self):
        pids, at = [], 0
        while not self.ended.is_set():
            if time.monotonic() >= at:
                pids, at = [p for p in self.children() if p not in self.others], time.monotonic() + .1
            for p in pids:
                self.look(p)
            time.sleep(.01)


def load(path, form, n, workers, prepare):
    """Peaks of the processes of one load; and that all rows are there."""
    package = lineitem_package(folder, path, form)
    db.execute("DROP SCHEMA IF EXISTS dlt_bench CASCADE")
    if prepare:
        db.execute(f"CREATE SCHEMA dlt_bench; CREATE TABLE dlt_bench.li ({COLS}); {prepare}")
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute(f"SET loader.workers = {workers}")
        watch = Watch()
        watch.start()
        t = time.perf_counter()
        try:
            c.execute("CALL loader_run(%s, dataset => 'dlt_bench')", (package,))
        finally:
            watch.ended.set()
            watch.join()
        t = time.perf_counter() - t
    shutil.rmtree(package)
    got = db.execute("SELECT sum(rows_inserted) FROM loader.tables WHERE package_id = (SELECT max(package_id) FROM loader.packages) AND table_name = 'li'").fetchone()[0]
    if got != n:
        sys.exit(f"{got} rows of {n} were loaded")
    db.execute("DROP SCHEMA dlt_bench CASCADE; CHECKPOINT")
    return t, watch.seen


# --- the table --------------------------------------------------------------------------------------

INDEX = "CREATE INDEX ON dlt_bench.li (l_comment)"
# name, format, GB, workers, what a table that is there has before
ROWS = [("new table, parallel", "csv", a.size, 2, None),
        ("new table, one process", "csv", a.size, 1, None),
        ("new table, parallel", "insert_values", a.more, 2, None),
        ("new table, one process", "insert_values", a.more, 1, None),
        ("new table, parallel", "jsonl", a.more, 2, None),
        ("new table, one process", "jsonl", a.more, 1, None),
        ("a table that is there, with an index on l_comment", "csv", a.more, 1, INDEX)]
ROWS = [r for r in ROWS if re.search(a.only, f"{r[1]}, {r[0]}")]
if not ROWS:
    sys.exit("no load has such a name")
need = 3.5 * max(r[2] for r in ROWS) * 1e9
for where in a.tmp, db.execute("SHOW data_directory").fetchone()[0]:
    free = shutil.disk_usage(where).free
    if free < need:
        sys.exit(f"{where} has {free / 1e9:.1f} GB free, and {need / 1e9:.1f} GB are needed: a smaller SIZE, or LOADER_TMP elsewhere")
print("| file | GB | into | seconds | process | MB of its own, at most | MB of shared memory | all (VmHWM) |\n|---|---|---|---|---|---|---|---|")
worst, path, made = 0, None, None
for name, form, gb, workers, prepare in ROWS:
    if (form, gb) != made:
        if path:
            os.unlink(path)
        path, n = write(form, gb)
        made = form, gb
    t, seen = load(path, form, n, workers, prepare)
    if not seen:
        sys.exit("no process of the load was seen")
    for p in sorted(seen.values(), key=lambda p: p["kind"]):
        own, shared, all_ = (p[k] / 1024 for k in ("own", "shared", "all"))
        worst = max(worst, own)
        kind = "loads" if p["kind"] == "loader" else p["kind"]
        print(f"| {form} | {os.path.getsize(path) / 1e9:.1f} | {name} | {t:.1f} | {kind} | {own:.1f} | {shared:.1f} | {all_:.1f} |", flush=True)
os.unlink(path)
shutil.rmtree(folder)
print(f"\nThe most that a process had of its own: {worst:.1f} MB, {'under' if worst < TARGET else 'NOT under'} {TARGET} MB.")
