# Loads one prepared dlt package with loader and prints how long that took, as dlt_load.py does for
# dlt's load step; then, as one line of JSON, what loader.tables says of the package's own tables.
#   usage: loader_load.py PACKAGES NAME DSN_URL [--replace STRATEGY] [--times 1]
# The package is linked into a temporary folder under a new load id, so it can be loaded again.
# --times N: with each data file N times, for more rows than there are files for.
import argparse, glob, json, os, shutil, sys, tempfile, time
import psycopg
from common import link

a = argparse.ArgumentParser()
a.add_argument("packages"); a.add_argument("name"); a.add_argument("dsn")
a.add_argument("--replace"); a.add_argument("--times", type=int, default=1)
a = a.parse_args()


def new_package(tmp):
    source = glob.glob(f"{a.packages}/{a.name}/*/load/normalized/*")[0]
    package = f"{tmp}/{time.time():.6f}"
    shutil.copytree(source, package, copy_function=link)
    for f in glob.glob(f"{package}/new_jobs/*"):
        table, file_id, rest = os.path.basename(f).split(".", 2)
        for k in range(1, a.times if not table.startswith("_dlt") else 1):
            os.link(f, os.path.join(os.path.dirname(f), f"{table}.x{k}{file_id}.{rest}"))
    return package


def load(package):
    t = time.perf_counter()
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute("call loader_run(%s, dataset => 'dlt_bench', replace_strategy => %s)", (package, a.replace))
    return time.perf_counter() - t


TABLES = """select json_agg(json_build_object('table', table_name, 'strategy', strategy, 'stage', stage, 'reason', reason,
  'inserted', rows_inserted, 'updated', rows_updated, 'deleted', rows_deleted,
  'lock_wait_ms', extract(epoch from lock_wait) * 1000, 'lock_hold_ms', extract(epoch from lock_hold) * 1000))
  from loader.tables where package_id = (select max(package_id) from loader.packages) and table_name !~ '^_dlt'"""


def tables():
    """A swap's locks are reported in a transaction of its own, which comes after the package's end."""
    with psycopg.connect(a.dsn, autocommit=True) as c:
        for _ in range(50):
            found = c.execute(TABLES).fetchone()[0]
            if all(t["stage"] != "swap heap" or t["lock_hold_ms"] is not None for t in found or []):
                break
            time.sleep(.1)
    return found


tmp = tempfile.mkdtemp(dir=a.packages)
try:
    os.chmod(tmp, 0o755)
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute("set client_min_messages = error; create extension if not exists loader")
    print(f"seconds: {load(new_package(tmp)):.3f}")
    print(json.dumps(tables()))
finally:
    shutil.rmtree(tmp, ignore_errors=True)
