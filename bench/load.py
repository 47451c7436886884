# A server with a lot to do: many packages queued at once, sessions that poll the views, and a catalog with
# thousands of finished packages. Prints what each takes; `make test` shows without times that it works.
#   usage: load.py --dsn URL --dir DIR [--packages 1000] [--datasets 20] [--pollers 50] [--finished 10000]
# URL is that of a superuser; database load_bench is made and dropped. DIR can be read by the server's user.
import argparse, glob, json, os, shutil, statistics as st, sys, threading, time
from urllib.parse import urlsplit
import psycopg

a = argparse.ArgumentParser()
a.add_argument("--dsn", required=True); a.add_argument("--dir", required=True)
a.add_argument("--packages", type=int, default=1000); a.add_argument("--datasets", type=int, default=20)
a.add_argument("--pollers", type=int, default=50); a.add_argument("--finished", type=int, default=10000)
a.add_argument("--workers", type=int, default=8)
a = a.parse_args()
url = lambda db: urlsplit(a.dsn)._replace(path=f"/{db}").geturl()
VIEWS = ["packages", "jobs", "tables", "progress", "rejects", "events", "datasets", "loads", "schemas", "states", "streams"]
admin = psycopg.connect(url("postgres"), autocommit=True)


def connect():
    return psycopg.connect(url("load_bench"), autocommit=True)


def make_package(top, load_id, table, first):
    """Ten rows of one table."""
    p = f"{top}/{load_id}"
    os.makedirs(f"{p}/new_jobs")
    columns = {"id": {"name": "id", "data_type": "bigint", "nullable": True}, "name": {"name": "name", "data_type": "text", "nullable": True}}
    own = {
        "_dlt_version": {n: {"name": n, "data_type": t, "nullable": False} for n, t in
                         (("version", "bigint"), ("engine_version", "bigint"), ("inserted_at", "timestamp"), ("schema_name", "text"), ("version_hash", "text"), ("schema", "text"))},
        "_dlt_loads": {n: {"name": n, "data_type": t, "nullable": n in ("schema_name", "schema_version_hash")} for n, t in
                       (("load_id", "text"), ("schema_name", "text"), ("status", "bigint"), ("inserted_at", "timestamp"), ("schema_version_hash", "text"))}}
    tables = {n: {"name": n, "columns": c, "write_disposition": "skip", "resource": n} for n, c in own.items()}
    tables[table] = {"name": table, "columns": columns, "write_disposition": "append", "resource": table, "x-normalizer": {"seen-data": True}}
    json.dump({"version": 1, "version_hash": f"hash-of-{table}=", "engine_version": 11, "name": "bench", "tables": tables, "settings": {}, "previous_hashes": [],
               "normalizers": {"names": "snake_case", "json": {"module": "dlt.common.normalizers.json.relational"}}}, open(f"{p}/schema.json", "w"))
    json.dump({"_state_version": 1, "_state_engine_version": 1, "created_at": "2024-01-01T00:00:00+00:00", "_version_hash": "x"},
              open(f"{p}/load_package_state.json", "w"))
    with open(f"{p}/new_jobs/{table}.{first:010x}.0.csv", "w") as f:
        f.write("id,name\n" + "".join(f"{first + i},name {first + i}\n" for i in range(10)))


def timed(c, sql):
    t = time.perf_counter()
    c.execute(sql).fetchall()
    return 1000 * (time.perf_counter() - t)


def line(name, ms):
    ms = sorted(ms)
    print(f"| {name} | {len(ms)} | {st.median(ms):.1f} | {ms[int(len(ms) * 0.95)]:.1f} | {ms[-1]:.1f} |", flush=True)


def table(title):
    print(f"\n{title}\n\n| | times | median ms | 95 % ms | max ms |\n|---|---|---|---|---|")


def poll(stop, seen):
    """A session that looks at one view after the other, about once a second."""
    with connect() as c:
        while not stop.is_set():
            for v in VIEWS:
                seen[v].append(timed(c, f"SELECT * FROM loader.{v}"))
                if stop.wait(1):
                    return


def starts(c, dataset, name):
    ms = []
    top = f"{a.dir}/{dataset}"
    shutil.rmtree(top, ignore_errors=True)
    for i in range(20):
        make_package(top, f"{1800000000 + i}.1", "single", i * 10)
        ms.append(timed(c, f"SELECT loader_start('{top}/{1800000000 + i}.1', '{dataset}')"))
        c.execute("SELECT loader_wait(max(package_id)) FROM loader.package")
    line(name, ms)


os.umask(0o022)
admin.execute("DROP DATABASE IF EXISTS load_bench")
admin.execute("CREATE DATABASE load_bench")
top = f"{a.dir}/queue"
shutil.rmtree(top, ignore_errors=True)
for i in range(a.packages):
    # all tables of a dataset in turn: some packages queue behind others, some do not
    make_package(f"{top}/d{i % a.datasets}", f"{1700000000 + i}.1", f"t{i // a.datasets % 4}", i * 10)
main = connect()
main.execute("CREATE EXTENSION loader")
table("A start, with few packages in the catalog and with many (and from the transaction's begin to its end, without the load):")
starts(main, "start_few", "start, empty catalog")
main.execute(f"""
    INSERT INTO loader.package (load_id, schema_name, schema_hash, dataset, source, state, options, settings, schema_size, schema_inode, schema_mtime_ns,
        role_oid, role_name, system_identifier, database_oid, started_at, finished_at)
    SELECT 'old.' || n, 'bench', 'hash', 'old' || n % 20, '/nowhere/' || n, 'loaded', '{{}}', '{{}}', 1, 1, 1,
        current_user::regrole, current_user, (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_database WHERE datname = current_database()), now(), now()
    FROM generate_series(1, {a.finished}) n""")
main.execute("""INSERT INTO loader.job (package_id, ordinal, job_id, file_name, table_name, format, state, size, inode, mtime_ns)
    SELECT package_id, n, 't.' || n, 't.' || n || '.0.csv', 't' || n, 'csv', 'completed', 1, 1, 1 FROM loader.package, generate_series(1, 3) n WHERE load_id ^@ 'old.'""")
main.execute("""INSERT INTO loader.event (package_id, kind, detail) SELECT package_id, kind, '' FROM loader.package, unnest(ARRAY['registered', 'loaded']) kind WHERE load_id ^@ 'old.'""")
main.execute("""INSERT INTO loader.package_table (package_id, table_name, chain, disposition) SELECT package_id, 't' || n, 't' || n, 'append' FROM loader.package, generate_series(1, 3) n WHERE load_id ^@ 'old.'""")
starts(main, "start_many", f"start, {a.finished} finished")
main.execute("ANALYZE")
starts(main, "start_analyzed", "the same, analyzed")

table(f"Views, one session, {a.finished} finished packages:")
for v in VIEWS:
    line(v, [timed(main, f"SELECT * FROM loader.{v}") for _ in range(5)])
line("packages, one", [timed(main, "SELECT * FROM loader.packages WHERE package_id = 5000") for _ in range(5)])
main.execute("DELETE FROM loader.package WHERE load_id ^@ 'old.'")
main.execute("VACUUM ANALYZE")

stop, seen = threading.Event(), {v: [] for v in VIEWS}
threads = [threading.Thread(target=poll, args=(stop, seen)) for _ in range(a.pollers)]
for t in threads:
    t.start()
t = time.perf_counter()
for d in range(a.datasets):
    main.execute("SELECT count(*) FROM loader_scan(%s, %s)", (f"{top}/d{d}", f"q{d}"))
print(f"\n{a.packages} packages in {a.datasets} datasets registered and started in {time.perf_counter() - t:.1f} s", flush=True)
queued = {v: [timed(main, f"SELECT * FROM loader.{v}") for _ in range(5)] for v in VIEWS}
while main.execute("SELECT count(*) FROM loader.package WHERE state IN ('new', 'loading')").fetchone()[0]:
    time.sleep(0.5)
seconds = time.perf_counter() - t
stop.set()
for th in threads:
    th.join()
states = main.execute("SELECT state, count(*) FROM loader.package WHERE source ^@ %s GROUP BY 1", (top,)).fetchall()
print(f"loaded in {seconds:.1f} s, {a.packages / seconds:.0f} packages a second: {dict(states)}, deadlocks:",
      main.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()[0])
late = main.execute("""SELECT count(*), max(behind) FROM (SELECT package_id,
    (SELECT count(*) FROM loader.package b WHERE b.package_id > a.package_id AND b.started_at < a.started_at AND b.source ^@ %s) AS behind
    FROM loader.package a WHERE source ^@ %s) q WHERE behind > 0""", (top, top)).fetchone()
print(f"packages that began after later ones: {late[0]}, at most {late[1] or 0} of them")
table(f"Views, one session of {a.pollers + 1}, right after the start, and {a.pollers} sessions meanwhile:")
for v in VIEWS:
    line(v + ", one", queued[v])
    if seen[v]:
        line(f"{v}, {a.pollers}", seen[v])
for c in (main, admin):
    c.close()
