# What on_error => 'reject' costs in merges: where no row is bad, beside 'abort'; and with one bad row in a hundred.
#   usage: reject_merge.py --dsn URL --dir DIR [--rows 600000] [--bad-rows 300000] [--runs 9]
# URL is that of a superuser; database reject_bench is made and dropped. DIR can be read by the server's user. Seconds are
# those of processors, of all processes of the server that have ended meanwhile: the coordinator and who asks it nothing else.
import argparse, json, os, random, shutil, statistics as st, time
from urllib.parse import urlsplit
import psycopg

a = argparse.ArgumentParser()
a.add_argument("--dsn", required=True); a.add_argument("--dir", required=True)
a.add_argument("--rows", type=int, default=600000); a.add_argument("--bad-rows", type=int, default=300000)
a.add_argument("--runs", type=int, default=9)
a = a.parse_args()
url = lambda db: urlsplit(a.dsn)._replace(path=f"/{db}").geturl()
admin = psycopg.connect(url("postgres"), autocommit=True)
STRATEGIES = ("delete-insert", "upsert")


def make_package(strategy, rows, every):
    """Rows of one table, in any order; every so many-th is bad, 0: none."""
    p = f"{a.dir}/{strategy}_{rows}_{every}"
    shutil.rmtree(p, ignore_errors=True)
    os.makedirs(f"{p}/new_jobs")
    column = lambda n, t, **more: {"name": n, "data_type": t, "nullable": False, **more}
    columns = [column("id", "bigint", primary_key=True), column("name", "text"), column("v", "bigint"),
               column("_dlt_id", "text", row_key=True), column("_dlt_load_id", "text")]
    own = {"_dlt_version": [column("version", "bigint"), column("engine_version", "bigint"), column("inserted_at", "timestamp"),
                            column("schema_name", "text"), column("version_hash", "text"), column("schema", "text")],
           "_dlt_loads": [column("load_id", "text"), column("schema_name", "text"), column("status", "bigint"),
                          column("inserted_at", "timestamp"), column("schema_version_hash", "text")]}
    tables = {n: {"name": n, "columns": {c["name"]: c for c in cs}, "write_disposition": "skip"} for n, cs in own.items()}
    tables["items"] = {"name": "items", "columns": {c["name"]: c for c in columns}, "write_disposition": "merge",
                       "x-merge-strategy": strategy, "x-normalizer": {"seen-data": True}}
    json.dump({"version": 1, "version_hash": f"hash-of-{strategy}=", "engine_version": 11, "name": "bench", "tables": tables, "settings": {},
               "previous_hashes": [], "normalizers": {"names": "snake_case"}}, open(f"{p}/schema.json", "w"))
    json.dump({}, open(f"{p}/load_package_state.json", "w"))
    ids = list(range(1, rows + 1))
    random.Random(1).shuffle(ids)
    with open(f"{p}/new_jobs/items.a.0.csv", "w") as f:
        f.write("id,name,v,_dlt_id,_dlt_load_id\n")
        for n, i in enumerate(ids):
            f.write(f"{i},row number {i},{7 if every and n % every == every // 2 else 1},n{i},1.1\n")
    return p


def fresh(rows, index):
    with psycopg.connect(url("reject_bench"), autocommit=True) as c:
        c.execute("DROP SCHEMA IF EXISTS d CASCADE; DROP SCHEMA IF EXISTS d_staging CASCADE; CREATE SCHEMA d")
        c.execute("CREATE TABLE d.items (id bigint NOT NULL, name text NOT NULL, v bigint NOT NULL CHECK (v <> 7), _dlt_id text NOT NULL, _dlt_load_id text NOT NULL)")
        c.execute(f"INSERT INTO d.items SELECT i, 'old', 1, 'o' || i, '1.0' FROM generate_series(1, {rows}) AS i")
        if index:
            c.execute("CREATE UNIQUE INDEX ON d.items (id)")
        c.execute("ANALYZE d.items")
        c.execute("CHECKPOINT")


def load(c, postmaster, path, on_error, rejected):
    """Processor seconds, and those of the clock."""
    def ended():
        with open(f"/proc/{postmaster}/stat") as f:
            return sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[13:15]) / os.sysconf("SC_CLK_TCK")

    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^loader (coordinator|job)'"
    before, t = ended(), time.perf_counter()
    package_id = c.execute("SELECT loader_start(%s, 'd', on_error => %s)", [path, on_error]).fetchone()[0]
    state = c.execute("SELECT loader_wait(%s)", [package_id]).fetchone()[0]
    t = time.perf_counter() - t
    while c.execute(workers).fetchone()[0]:
        time.sleep(0.01)
    time.sleep(0.1)     # the postmaster hears of it
    got = c.execute("SELECT state, rows_rejected FROM loader.packages WHERE package_id = %s", [package_id]).fetchone()
    assert got == ("loaded", rejected), (got, c.execute("SELECT message FROM loader.packages WHERE package_id = %s", [package_id]).fetchone())
    c.execute("SELECT loader_discard(%s), loader_forget(%s)", [package_id, package_id])
    return ended() - before, t


admin.execute("DROP DATABASE IF EXISTS reject_bench WITH (FORCE)")
admin.execute("CREATE DATABASE reject_bench")
with psycopg.connect(url("reject_bench"), autocommit=True) as c:
    c.execute("SET client_min_messages = error; CREATE EXTENSION loader")
    postmaster = int(c.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").fetchone()[0])
    print(f"| {a.rows} rows, none bad, into as many | abort | reject | costs | least of each |\n|---|---|---|---|---|")
    for strategy in STRATEGIES:
        path, got = make_package(strategy, a.rows, 0), {"abort": [], "reject": []}
        for run in range(a.runs):
            for how in list(got)[:: 1 if run % 2 else -1]:
                fresh(a.rows, False)
                got[how].append(load(c, postmaster, path, how, 0)[0])
        median, least = ([f(got[how]) for how in got] for f in (st.median, min))
        print(f"| {strategy} | {median[0]:.2f} | {median[1]:.2f} | {100 * (median[1] / median[0] - 1):.1f} % | {100 * (least[1] / least[0] - 1):.1f} % |", flush=True)
    print(f"\n| {a.bad_rows} rows, one in a hundred bad, into as many | processor s | s |\n|---|---|---|")
    for strategy in STRATEGIES:
        path = make_package(strategy, a.bad_rows, 100)
        for index in False, True:
            got = []
            for run in range(3):
                fresh(a.bad_rows, index)
                got.append(load(c, postmaster, path, "reject", a.bad_rows // 100))
            print(f"| {strategy}, {'a unique index' if index else 'no index'} | {st.median(g[0] for g in got):.2f} | {st.median(g[1] for g in got):.2f} |", flush=True)
admin.execute("DROP DATABASE reject_bench WITH (FORCE)")
