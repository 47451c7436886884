# Times what takes records from Airbyte or Singer into PostgreSQL, over TCP: our connector beside Meltano's
# target-postgres and PyAirbyte's own PostgresCache. The same records for all: users of source-faker.
#   usage: messages.py --data DIR --dsn URL --connector FILE --venvs DIR [--n 100000] [--runs 3] [--only REGEX]
# DSN with host, port, user and password; the server must be on this machine. VENVS has pyairbyte/ and singer/.
# Modes: append, and append_dedup twice: into a new table, and into one that has all keys already, so that each record is
# an update.
# Peers are interleaved; COPY csv of the same rows is run before each.  Prints a table in markdown.
#   (within: messages.py run cache|write MODE FILE DSN ... prints "seconds: S", without imports)
import argparse, json, os, re, shlex, statistics as st, subprocess, sys, tempfile, time, urllib.parse

FAKER = {"seed": 1, "records_per_slice": 10_000, "parallelism": 2, "always_updated": True}


def script_source(messages, catalog):
    """An executable source that says what lies in a file: as fast as one can be."""
    streams = [s["stream"] for s in json.load(open(catalog))["streams"]]
    say = lambda kind, key, payload: "echo " + shlex.quote(json.dumps({"type": kind, key: payload}))
    f = tempfile.NamedTemporaryFile("w", suffix="-source", delete=False)
    f.write("#!/bin/sh\ncase $1 in\n"
            f"spec) {say('SPEC', 'spec', {'connectionSpecification': {'type': 'object'}})} ;;\n"
            f"discover) {say('CATALOG', 'catalog', {'streams': streams})} ;;\n"
            f"read) exec cat {shlex.quote(os.path.abspath(messages))} ;;\nesac\n")
    f.close()
    os.chmod(f.name, 0o755)
    return f.name


def run_pyairbyte(what, mode, messages, catalog, dsn, connector):
    """PyAirbyte reads into its PostgresCache, or writes through our connector without a cache."""
    import airbyte as ab
    from airbyte.caches import PostgresCache
    from airbyte.strategies import WriteStrategy
    u = urllib.parse.urlsplit(dsn)
    where = dict(host=u.hostname, port=u.port, database=u.path[1:], username=u.username, password=u.password)
    executable = script_source(messages, catalog)
    source = ab.get_source("source-script", local_executable=executable, config={}, streams="*")
    strategy = WriteStrategy.MERGE if mode == "append_dedup" else WriteStrategy.APPEND
    t = time.perf_counter()
    if what == "cache":
        source.read(PostgresCache(**where, schema_name="bench"), write_strategy=strategy, force_full_refresh=True)
    else:
        ab.get_destination("destination-loader", local_executable=connector, config=where | {"schema": "bench"}).write(
            source, cache=False, state_cache=False, write_strategy=strategy)
    print(f"seconds: {time.perf_counter() - t:.3f}")
    os.unlink(executable)


def make_input(out, n, faker):
    """Two syncs of n users, as Airbyte's messages and as Singer's, and the catalogs."""
    os.makedirs(out, exist_ok=True)
    for name, seed in ("first", 1), ("second", 2):
        if os.path.exists(f"{out}/{name}.singer.jsonl"):
            continue
        with open(f"{out}/config.json", "w") as f:
            json.dump(FAKER | {"count": n, "seed": seed}, f)
        found = subprocess.run([faker, "discover", "--config", f"{out}/config.json"], capture_output=True, text=True, check=True)
        streams = next(m["catalog"]["streams"] for m in map(json.loads, found.stdout.splitlines()) if m["type"] == "CATALOG")
        users = next(s for s in streams if s["name"] == "users")
        for mode in "append", "append_dedup":
            with open(f"{out}/{mode}.json", "w") as f:
                json.dump({"streams": [{"stream": users, "sync_mode": "incremental", "destination_sync_mode": mode,
                                        "primary_key": [["id"]], "cursor_field": ["updated_at"]}]}, f)
        with open(f"{out}/part", "w") as f:
            subprocess.run([faker, "read", "--config", f"{out}/config.json", "--catalog", f"{out}/append.json"],
                           stdout=f, check=True)
        with open(f"{out}/part") as f, open(f"{out}/{name}.part.singer", "w") as s:
            say = lambda m: s.write(json.dumps(m, separators=(",", ":"), ensure_ascii=False) + "\n")
            say({"type": "SCHEMA", "stream": "users", "schema": users["json_schema"], "key_properties": ["id"]})
            for m in map(json.loads, f):
                if m["type"] == "RECORD":
                    say({"type": "RECORD", "stream": "users", "record": m["record"]["data"]})
                elif m["type"] == "STATE":
                    say({"type": "STATE", "value": {"bookmarks": {"users": m["state"]["stream"]["stream_state"]}}})
        os.rename(f"{out}/part", f"{out}/{name}.jsonl")
        os.rename(f"{out}/{name}.part.singer", f"{out}/{name}.singer.jsonl")


def main():
    ap = argparse.ArgumentParser()
    for name, default in dict(data=None, dsn=None, connector=None, venvs=None, n=100_000, runs=3, only=".").items():
        ap.add_argument("--" + name, default=default, type=type(default) if default is not None else str, required=default is None)
    a = ap.parse_args()
    import psycopg
    bin = lambda venv, name: f"{os.path.abspath(a.venvs)}/{venv}/bin/{name}"
    here, data = os.path.abspath(__file__), os.path.abspath(a.data)
    make_input(data, a.n, bin("pyairbyte", "source-faker"))
    u = urllib.parse.urlsplit(a.dsn)
    where = dict(host=u.hostname, port=u.port, database=u.path[1:])
    for name, config in (
            ("loader", where | {"username": u.username, "password": u.password, "schema": "bench"}),
            *((f"singer_{mode}", where | {"user": u.username, "password": u.password, "default_target_schema": "bench",
                                          "load_method": method, "use_copy": True, "activate_version": False})
              for mode, method in (("append", "append-only"), ("append_dedup", "upsert")))):
        with open(f"{data}/{name}.json", "w") as f:
            json.dump(config, f)
    q = shlex.quote
    pyairbyte = lambda what: (f"{q(bin('pyairbyte', 'python'))} {q(here)} run {what} {{mode}} {q(data)}/{{sync}}.jsonl"
                              f" {q(data)}/{{mode}}.json {q(a.dsn)} {q(a.connector)}")
    loader = (f"{q(a.connector)} write --config {q(data)}/loader.json --catalog {q(data)}/{{mode}}.json"
              f" < {q(data)}/{{sync}}.jsonl")
    peers = [
        ("loader: destination-loader", loader),
        ("loader: PyAirbyte write(), no cache", pyairbyte("write")),
        ("Meltano target-postgres", f"{q(bin('singer', 'target-postgres'))} --config {q(data)}/singer_{{mode}}.json"
                                    f" < {q(data)}/{{sync}}.singer.jsonl"),
        ("PyAirbyte PostgresCache", pyairbyte("cache")),
    ]
    peers = [p for p in peers if re.search(a.only, p[0])]
    db = psycopg.connect(a.dsn, autocommit=True)
    env = os.environ | {"AIRBYTE_OFFLINE_MODE": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore", "TZ": "UTC",
                        "AIRBYTE_PROJECT_DIR": data, "AIRBYTE_LOGGING_ROOT": f"{data}/logs", "HOME": data}

    def run(command, mode, sync):
        t = time.perf_counter()
        r = subprocess.run(["bash", "-c", command.format(mode=mode, sync=sync)], capture_output=True, text=True, env=env)
        took = time.perf_counter() - t
        if r.returncode:
            sys.exit(f"failed: {command.format(mode=mode, sync=sync)}\n{(r.stdout + r.stderr)[-2000:]}")
        said = re.search(r"^seconds: ([\d.]+)", r.stdout, re.M)
        return float(said[1]) if said else took

    def one(command, mode, updates):
        """Seconds of a load, into a table as it has to be; counts what is there afterwards."""
        db.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench")
        if updates:
            run(command, mode, "first")
            db.execute("ANALYZE bench.users")
        db.execute("CHECKPOINT")
        took = run(command, mode, "second" if updates else "first")
        rows, names = db.execute("SELECT count(*), count(DISTINCT (id, email)) FROM bench.users").fetchone()
        if (rows, names) != (a.n, a.n):
            sys.exit(f"{rows} rows, {names} of them different, of {a.n} records: {command}")
        return took

    def copy():
        db.execute("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench")
        db.execute("CREATE TABLE bench.users (LIKE keep.users); CHECKPOINT")
        t = time.perf_counter()
        with open(f"{data}/users.csv", "rb") as f, db.cursor().copy("COPY bench.users FROM STDIN CSV") as c:
            while block := f.read(1 << 20):
                c.write(block)
        return time.perf_counter() - t

    # the rows of the base: ours, as they are in the table
    one(loader, "append", False)
    db.execute("DROP SCHEMA IF EXISTS keep CASCADE; CREATE SCHEMA keep; CREATE TABLE keep.users AS TABLE bench.users")
    with open(f"{data}/users.csv", "wb") as f, db.cursor().copy("COPY keep.users TO STDOUT CSV") as c:
        for block in c:
            f.write(block)

    for title, mode, updates in (("append", "append", False), ("append_dedup, new table", "append_dedup", False),
                                 ("append_dedup, all updates", "append_dedup", True)):
        got, base = {name: [] for name, _ in peers}, []
        for r in range(a.runs):
            for name, command in peers:
                base.append(copy())
                got[name].append(one(command, mode, updates))
                print(f"{title} run {r + 1} {name}: {got[name][-1]:.2f} s, COPY csv {base[-1]:.2f}", file=sys.stderr, flush=True)
        best = min((st.median(times) for name, times in got.items() if not name.startswith("loader")), default=None)
        print(f"\n{title}:\n\n| what | seconds | records/s | times as fast as the best peer | min | max |\n|---|---|---|---|---|---|")
        for name, times in [*got.items(), ("COPY csv of the same rows", base)]:
            m = st.median(times)
            print(f"| {name} | {m:.2f} | {a.n / m:,.0f} | {f'{best / m:.1f}' if best else ''} | {min(times):.2f} | {max(times):.2f} |")


if sys.argv[1:2] == ["run"]:
    run_pyairbyte(*sys.argv[2:])
else:
    main()
