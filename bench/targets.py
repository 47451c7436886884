# What loads are to be as fast as: each beside COPY csv of the same rows into the same table, or beside dlt's load
# step, interleaved. Prints one line for each with the median of the ratios of neighbours.
#   usage: targets.py --dsn URL --data DIR --packages DIR --tmp DIR [--n 2000000] [--runs 3] [--only REGEX]
# URL is that of a superuser. DIR of packages as make_packages.py leaves them; other packages are made here.
import argparse, glob, os, random, re, shutil, statistics as st, subprocess, sys, time
import psycopg
import common
from common import COLS, column, link

a = argparse.ArgumentParser()
for k, d in dict(dsn=None, data=None, packages=None, tmp=None, n=2_000_000, runs=3, only=".").items():
    a.add_argument("--" + k, default=d, type=type(d) if d is not None else str, required=d is None)
a = a.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
db = psycopg.connect(a.dsn, autocommit=True)
db.execute("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS loader")


def reset():
    db.execute("SELECT loader_cancel(package_id) FROM loader.packages WHERE state = 'failed'")
    db.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench; DROP SCHEMA IF EXISTS dlt_bench CASCADE; DROP SCHEMA IF EXISTS dlt_bench_staging CASCADE")


def timed(call, *arguments):
    db.execute("CHECKPOINT")
    t = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - t


# --- COPY ---------------------------------------------------------------------------------------

def copy_lineitem():
    reset()
    db.execute(f"CREATE TABLE bench.li ({COLS}) WITH (autovacuum_enabled = off)")
    return timed(db.execute, f"COPY bench.li FROM '{a.data}/li_{a.n}.csv' CSV")


# --- packages -----------------------------------------------------------------------------------

def package(name):
    """A package of dlt's under a load id that no other has, its files linked."""
    source = glob.glob(f"{a.packages}/{name}/*/load/normalized/*")[0]
    target = common.new_path(f"{a.packages}/.targets")
    shutil.copytree(source, target, copy_function=link)
    for state in glob.glob(f"{target}/new_jobs/_dlt_pipeline_state.*"):
        os.unlink(state)    # its row has an id that can come only once
    return target


def own_package(tables, rows):
    """A package of csv files: tables as a dict of lists of columns, rows of one as a function that writes to a file."""
    target, place = common.own_package(f"{a.packages}/.targets", {n: (c, "append") for n, c in tables.items()})
    for n in tables:
        with open(place(n), "w") as f:
            rows(n, f)
    return target


def run(path, **settings):
    with psycopg.connect(a.dsn, autocommit=True) as c:
        for k, v in settings.items():
            c.execute(f"SET loader.{k} = {v}")
        return timed(c.execute, f"CALL loader_run('{path}', dataset => 'dlt_bench')")


def load(name, **settings):
    path = package(name)
    reset()
    return run(path, **settings)


def dlt(name, *more):
    reset()
    out = subprocess.run([sys.executable, f"{here}/dlt_load.py", a.packages, name, a.dsn, *more], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"^seconds: ([\d.]+)", out, re.M)[1])


def replace():
    """The table that is there has the rows already."""
    load("replace_csv_plain")
    return run(package("replace_csv_plain"))


# --- nested events --------------------------------------------------------------------------------

def copy_events():
    """The tables as a load leaves them, indexes included, filled by COPY of their own rows."""
    load("events_jsonl")
    tables = [r[0] for r in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'dlt_bench' AND tablename !~ '^_dlt' ORDER BY 1").fetchall()]
    for t in tables:
        db.execute(f"COPY dlt_bench.\"{t}\" TO '{a.tmp}/{t}.csv' CSV; CREATE TABLE bench.\"{t}\" (LIKE dlt_bench.\"{t}\" INCLUDING ALL)")
    return timed(lambda: [db.execute(f"COPY bench.\"{t}\" FROM '{a.tmp}/{t}.csv' CSV") for t in tables])


# --- a unique index on random text -----------------------------------------------------------------

NARROW = [column("id", "bigint"), column("_dlt_id", "text", nullable=False, unique=True), column("v", "double"), column("at", "timestamp"), column("ok", "bool")]
SQL_NARROW = "id bigint, _dlt_id varchar NOT NULL UNIQUE, v double precision, at timestamptz, ok boolean"


def narrow(first, n):
    def write(_, f):
        r = random.Random(first)
        f.write("id,_dlt_id,v,at,ok\n")
        for i in range(first, first + n):
            f.write(f"{i},{r.getrandbits(84):014x},{i * .5},2024-01-{i % 28 + 1:02d}T03:04:05Z,{'true' if i % 3 else 'false'}\n")
    return write


def narrow_files():
    for name, first, n in ("narrow", 0, 1_000_000), ("more", 1_000_000, 100_000):
        with open(f"{a.tmp}/{name}.csv", "w") as f:
            narrow(first, n)(None, f)
        os.chmod(f"{a.tmp}/{name}.csv", 0o644)


def copy_narrow(more=False):
    reset()
    db.execute(f"CREATE TABLE bench.narrow ({SQL_NARROW}) WITH (autovacuum_enabled = off)")
    if not more:
        return timed(db.execute, f"COPY bench.narrow FROM '{a.tmp}/narrow.csv' CSV HEADER")
    db.execute(f"COPY bench.narrow FROM '{a.tmp}/narrow.csv' CSV HEADER")
    return timed(db.execute, f"COPY bench.narrow FROM '{a.tmp}/more.csv' CSV HEADER")


def link_rows(name):
    def write(_, f):
        with open(f"{a.tmp}/{name}.csv") as source:
            shutil.copyfileobj(source, f)
    return write


def load_narrow(more=False, there=False):
    """Into a new table; there: into an empty one that is there; more: 100,000 rows after 1,000,000."""
    first, second = own_package({"narrow": NARROW}, link_rows("narrow")), own_package({"narrow": NARROW}, link_rows("more"))
    reset()
    if there:
        db.execute(f"CREATE SCHEMA dlt_bench; CREATE TABLE dlt_bench.narrow ({SQL_NARROW})")
    seconds = run(first)
    return run(second) if more else seconds


# --- many small jobs ---------------------------------------------------------------------------------

def small(n):
    columns = [column("id", "bigint"), column("name", "text"), column("v", "double"), column("at", "timestamp")]

    def rows(_, f):
        f.write("id,name,v,at\n")
        for i in range(100):
            f.write(f"{i},row {i},{i * .5},2024-01-02T03:04:05Z\n")
    tables = {f"t{k:03d}": columns for k in range(n)}
    reset()
    run(own_package(tables, rows))
    return run(own_package(tables, rows))


# --- the table ------------------------------------------------------------------------------------

def ratio(base, ours):
    """Medians: seconds of both, and of the ratio to the mean of the bases around."""
    bases, times = [base()], []
    for _ in range(a.runs):
        times.append(ours())
        bases.append(base())
    ratios = [(bases[i] + bases[i + 1]) / 2 / t for i, t in enumerate(times)]
    return st.median(bases), st.median(times), st.median(ratios)


def alone(ours, jobs):
    return [st.median(ours() for _ in range(a.runs)) / jobs]


copy = ("COPY csv", copy_lineitem)
ROWS = [
    ("lineitem csv, one process", 4, copy, lambda: load("append_csv_plain", workers=1)),
    ("lineitem csv, two cores", 5.5, copy, lambda: load("append_csv_plain")),
    ("lineitem csv replaced, two cores", 5.5, copy, replace),
    ("lineitem insert_values.gz, two cores", 4, copy, lambda: load("append_insert_values")),
    ("lineitem insert_values.gz, two cores", 25, ("dlt", lambda: dlt("append_insert_values")), lambda: load("append_insert_values")),
    ("lineitem csv.gz in 8 files, two cores", 4, ("dlt", lambda: dlt("append_csv_split")), lambda: load("append_csv_split")),
    ("lineitem jsonl.gz, two cores", None, copy, lambda: load("append_jsonl")),
    ("nested events jsonl.gz, three tables", 1, ("COPY csv", copy_events), lambda: load("events_jsonl")),
    ("1 M rows with a unique text, new table", 3, ("COPY csv", copy_narrow), load_narrow),
    ("the same, a table that is there", 3, ("COPY csv", copy_narrow), lambda: load_narrow(there=True)),
    ("100,000 rows more", 1.5, ("COPY csv", lambda: copy_narrow(True)), lambda: load_narrow(True)),
]
MILLISECONDS = [
    ("a job of 100 rows, of 300 in 300 tables", 1, 300),
    ("a package of one job of 100 rows", 30, 1),
]

os.makedirs(f"{a.packages}/.targets", exist_ok=True)
os.chmod(f"{a.packages}/.targets", 0o755)
narrow_files()
print("| work | base | seconds of the base | of loader | times as fast | target |\n|---|---|---|---|---|---|")
for name, target, (base_name, base), ours in ROWS:
    if re.search(a.only, name):
        b, t, r = ratio(base, ours)
        factor = f"**{r:.2f}**" if r >= (target or 0) else f"{r:.2f}"
        print(f"| {name} | {base_name} | {b:.2f} | {t:.2f} | {factor} | {target or ''} |", flush=True)
print("\n| work | milliseconds | target |\n|---|---|---|")
for name, target, n in MILLISECONDS:
    if re.search(a.only, name):
        ms = alone(lambda: small(n), n)[0] * 1000
        print(f"| {name} | {f'**{ms:.1f}**' if ms <= target else f'{ms:.1f}'} | {target} |", flush=True)
reset()
shutil.rmtree(f"{a.packages}/.targets", ignore_errors=True)
