# Times loaders against plain server-side COPY csv of the same rows, interleaved in one run.
#   usage: peers.py --data DIR --dsn URL [--packages DIR] [--runs 3] [--n 2000000]
#                   [--only REGEX] [--group append] [--add 'NAME|COMMAND'] [--csv FILE]
# A peer is one line of PEERS: a shell command that loads N rows of lineitem into bench.li (made
# empty before each run) or into a schema of its own.  Another loader is one more line, or --add.
# A command that prints "seconds: S" is charged S (so start-up can be left out), else its wall time.
# The base is run before every PER_BASE peers and after the last; a peer's ratio is its time over
# the mean of the bases around it.  cpu_s is CPU spent in all server processes, cli_s in the client.
# The server must be on this machine.  Commands see: {data} {dsn} {n} {py} {pk} {here} {pgbin} and
# {pkdir[NAME]}, the load package itself in the packages folder NAME.
import argparse, csv, glob, os, re, resource, shutil, statistics as st, subprocess, sys, time
import psycopg
from psycopg.conninfo import conninfo_to_dict
from common import COLS, NAMES, ServerCpu

SQL = 'psql -XqAt "{dsn}" -c '
BASE = SQL + "\"copy bench.li from '{data}/li_{n}.csv' csv\""
BULK = ('"{bulkload}" -d {db} -h {host} -p {port} -U {user} -i {data}/li_{n}.csv -O bench.li '
        '-P {tmp}/bulk.bad -u {tmp}/bulk.dup -l {tmp}/bulk.log -o TYPE=CSV -o WRITER=')
DLT = "{py} {here}/dlt_load.py {pk} "
# name, group, command, input file
PEERS = [
 ("copy text", "append", SQL + "\"copy bench.li from '{data}/li_{n}.txt'\"", "{data}/li_{n}.txt"),
 ("copy binary", "append", SQL + "\"copy bench.li from '{data}/li_{n}.bin' binary\"", "{data}/li_{n}.bin"),
 ("copy csv freeze", "append", SQL + "\"begin; truncate bench.li; copy bench.li from '{data}/li_{n}.csv' (format csv, freeze); commit\"", None),
 ("copy csv unlogged", "append", SQL + "\"copy bench.li_u from '{data}/li_{n}.csv' csv\"", None),
 ("copy csv x2", "append", '{py} {here}/clients.py split "{dsn}" bench.li {data}/li_{n}.a.csv {data}/li_{n}.b.csv', None),
 ("insert select", "append", SQL + '"insert into bench.li select * from keep.li_{n}"', None),
 ("psql \\copy csv", "append", "psql -Xq \"{dsn}\" -c \"\\copy bench.li from '{data}/li_{n}.csv' csv\"", None),
 ("psycopg copy csv", "append", '{py} {here}/clients.py copy {data}/li_{n}.csv "{dsn}" bench.li', None),
 ("adbc parquet", "append", '{py} {here}/clients.py adbc {data}/li_{n}.parquet "{dsn}" bench li', "{data}/li_{n}.parquet"),
 ("pg_bulkload direct", "append load", BULK + "DIRECT", None),
 ("pg_bulkload buffered", "append load", BULK + "BUFFERED", None),
 ("pg_bulkload parallel", "append load", BULK + "DIRECT -o MULTI_PROCESS=YES", None),
 ("pgloader csv", "append", "pgloader --type csv --field {names} --with \"fields terminated by ','\" {data}/li_{n}.csv \"{dsn}?tablename=bench.li\"", None),
 ("sling csv", "append", "SLING_DISABLE_TELEMETRY=true {sling} run --src-stream file://{data}/li_{n}.csv --src-options '{{\"header\": false}}' --tgt-conn \"{dsn}?sslmode=disable\" --tgt-object bench.li_s --mode full-refresh", None),
]
# the same packages through dlt and through us; "load" is the short comparison that run.sh makes
LOADER = SQL + "\"call loader_run('{pkdir[append_FORMAT]}', dataset => 'dlt_bench')\""
REJECT = LOADER.replace("'dlt_bench')", "'dlt_bench', on_error => 'reject')")
for f in ("insert_values", "csv", "csv_plain", "jsonl", "jsonl_plain"):
    label = f.removesuffix("_plain") if f.endswith("_plain") else f + ".gz"
    PEERS += [(f"loader {label}, 1 file", "append load reject", LOADER.replace("FORMAT", f), f"append_{f}"),
              (f"loader {label}, on_error reject", "reject", REJECT.replace("FORMAT", f), f"append_{f}")]
PEERS.append(("dlt csv not gzipped, 1 file", "load", DLT + 'append_csv_plain "{dsn}"', "append_csv_plain"))
for f in ("insert_values", "csv", "parquet"):
    PEERS += [(f"dlt {f}, 1 file", "dlt" if f == "parquet" else "dlt load", DLT + f'append_{f} "{{dsn}}"', f"append_{f}"),
              (f"dlt {f}, 8 files, 20 workers", "dlt", DLT + f'append_{f}_split "{{dsn}}"', f"append_{f}_split"),
              (f"dlt {f}, 8 files, 2 workers", "dlt", DLT + f'append_{f}_split "{{dsn}}" --workers 2', f"append_{f}_split"),
              (f"dlt {f} 200k rows", "sizes", DLT + f'append_{f}_200000 "{{dsn}}"', f"append_{f}_200000"),
              (f"dlt {f} split", "sizes", DLT + f'append_{f}_split "{{dsn}}"', f"append_{f}_split"),
              (f"dlt {f} split x3", "sizes", DLT + f'append_{f}_x3 "{{dsn}}"', f"append_{f}_x3"),
              (f"dlt events {f}", "events", DLT + f'events_{f} "{{dsn}}"', f"events_{f}"),
              (f"dlt 300 small {f}, 20 workers", "small", DLT + f'small_{f} "{{dsn}}"', f"small_{f}"),
              (f"dlt 300 small {f}, 2 workers", "small", DLT + f'small_{f} "{{dsn}}" --workers 2', f"small_{f}")]
# dlt's load step by its own destination and by ours, upload included, over a socket and over TCP
for f in ("insert_values", "csv", "jsonl"):
    for tcp in ("", " --tcp"):
        label = f"{f}.gz{', TCP' if tcp else ''}"
        if f != "jsonl":    # dlt's own does not load it
            PEERS.append((f"pipeline.load() dlt, {label}", "client", DLT + f'append_{f} "{{dsn}}"{tcp}', f"append_{f}"))
        PEERS += [(f"pipeline.load() loader {mode}, {label}", "client", DLT + f'append_{f} "{{dsn}}" --loader {mode}{tcp}', f"append_{f}")
                  for mode in ("package", "job")]
PEERS += [
 *[(f"copy csv {n}", "sizes", SQL + f"\"copy bench.li from '{{data}}/li_{n}.csv' csv\"", f"{{data}}/li_{n}.csv") for n in (200000, 2000000, 6000000)],
 ("singer target-postgres", "messages", "head -{msgs} {data}/singer.jsonl | {singer} --config {tmp}/singer.json > /dev/null", "{data}/singer.jsonl"),
 ("singer target-postgres copy", "messages", "head -{msgs} {data}/singer.jsonl | {singer} --config {tmp}/singer_copy.json > /dev/null", "{data}/singer.jsonl"),
 ("pyairbyte cache", "messages", 'head -{msgs} {data}/airbyte.jsonl > {tmp}/ab.jsonl; {abpy} {here}/clients.py pyairbyte {tmp}/ab.jsonl {data}/catalog.json "{dsn}"', "{data}/airbyte.jsonl"),
]

ap = argparse.ArgumentParser()
for k, d in dict(data=None, dsn=None, packages="", runs=3, n=2_000_000, only=".", group="append", csv="", per_base=2,
                 python=sys.executable, pgbin="", sling="sling", singer="target-postgres", abpython="", msgs=500_001,
                 tmp="/tmp").items():
    ap.add_argument("--" + k, default=d, type=type(d) if d is not None else str, required=d is None)
ap.add_argument("--add", action="append", default=[], metavar="NAME|COMMAND")
a = ap.parse_args()
data, here = os.path.abspath(a.data), os.path.dirname(os.path.abspath(__file__))
ci = conninfo_to_dict(a.dsn)
pgbin = a.pgbin or subprocess.check_output(["pg_config", "--bindir"], text=True).strip()
V = dict(data=data, dsn=a.dsn, n=a.n, py=a.python, pk=os.path.abspath(a.packages), here=here, pgbin=pgbin, names=",".join(NAMES),
         sling=a.sling, singer=a.singer, abpy=a.abpython or a.python, msgs=a.msgs, tmp=os.path.abspath(a.tmp),
         db=ci.get("dbname"), host=ci.get("host"), port=ci.get("port", 5432), user=ci.get("user"))
V["pkdir"] = {d.split("/")[-5]: d for d in glob.glob(f"{V['pk']}/*/*/load/normalized/*")}
db = psycopg.connect(a.dsn, autocommit=True)
q = lambda s: db.execute(s).fetchone()
server_cpu = ServerCpu(db)


def find_bulkload():
    """Its program, with its functions in the database; None if one of the two is not there."""
    path = next((p for p in (f"{pgbin}/pg_bulkload", shutil.which("pg_bulkload")) if p and os.access(p, os.X_OK)), None)
    if path and q("select count(*) from pg_available_extensions where name = 'pg_bulkload'")[0]:
        db.execute("set client_min_messages = error; create extension if not exists pg_bulkload")
        return path


V["bulkload"] = find_bulkload()


def prepare():
    db.execute("drop schema if exists bench cascade; create schema bench; drop schema if exists dlt_bench cascade;"
               "drop schema if exists dlt_bench_staging cascade; drop schema if exists airbyte_bench cascade;"
               f"create table bench.li ({COLS}) with (autovacuum_enabled=off); create unlogged table bench.li_u ({COLS}) with (autovacuum_enabled=off)")
    db.execute("checkpoint")
    for k, cp in ("singer", "false"), ("singer_copy", "true"):
        open(f"{V['tmp']}/{k}.json", "w").write(
            f'{{"host": "{V["host"]}", "port": {V["port"]}, "user": "{V["user"]}", "password": "x", "database": "{V["db"]}",'
            f' "default_target_schema": "bench", "use_copy": {cp}}}')


def run(cmd):
    prepare()
    c0, u0, lsn, t = server_cpu(), resource.getrusage(resource.RUSAGE_CHILDREN), q("select pg_current_wal_lsn()")[0], time.perf_counter()
    r = subprocess.run(["bash", "-c", cmd.format(**V)], capture_output=True, text=True)
    w = time.perf_counter() - t
    u1 = resource.getrusage(resource.RUSAGE_CHILDREN)
    if r.returncode:
        sys.stderr.write(f"failed: {cmd.format(**V)}\n{(r.stdout + r.stderr)[-1500:]}\n")
        return None
    m = re.search(r"^seconds: ([\d.]+)", r.stdout, re.M)
    rows = q("""select coalesce(sum((xpath('//c/text()', query_to_xml(format('select count(*) c from %I.%I', schemaname, relname), false, true, '')))[1]::text::bigint), 0)
                from pg_stat_user_tables where schemaname in ('bench','dlt_bench','airbyte_bench') and relname !~ '^_'""")[0]
    return dict(s=float(m[1]) if m else w, cpu=server_cpu() - c0, cli=u1.ru_utime + u1.ru_stime - u0.ru_utime - u0.ru_stime,
                wal=q(f"select pg_current_wal_lsn() - '{lsn}'::pg_lsn")[0], rows=int(rows))


def size(spec):
    if a.group == "messages" and spec:
        return os.path.getsize(spec.format(**V)) * min(1, a.msgs / 500_001)   # a head of 500k messages
    if spec is None:
        return os.path.getsize(f"{data}/li_{a.n}.csv")
    spec = spec.format(**V)
    if os.path.isfile(spec):    # else a package
        return os.path.getsize(spec)
    return sum(os.path.getsize(f) for f in glob.glob(f"{V['pk']}/{spec}/*/load/normalized/*/new_jobs/*"))


def inputs():       # derived forms of the same rows: text, binary, halves, a stored unlogged table
    prepare()
    db.execute(f"create schema if not exists keep")
    if not q(f"select to_regclass('keep.li_{a.n}')")[0]:
        db.execute(f"create unlogged table keep.li_{a.n} ({COLS}) with (autovacuum_enabled=off)")
        db.execute(f"copy keep.li_{a.n} from '{data}/li_{a.n}.csv' csv")
        db.execute(f"vacuum (freeze, analyze) keep.li_{a.n}")
    for ext, opt in ("txt", ""), ("bin", "binary"):
        if not os.path.exists(f"{data}/li_{a.n}.{ext}"):
            subprocess.run(["bash", "-c", f"psql -Xq '{a.dsn}' -c 'copy keep.li_{a.n} to stdout {opt}' > {data}/li_{a.n}.{ext}"], check=True)
    if not os.path.exists(f"{data}/li_{a.n}.a.csv"):
        h = a.n // 2
        subprocess.run(["bash", "-c", f"head -{h} {data}/li_{a.n}.csv > {data}/li_{a.n}.a.csv; tail -n +{h + 1} {data}/li_{a.n}.csv > {data}/li_{a.n}.b.csv"], check=True)


if not any(a.group in p[1].split() for p in PEERS) and not a.add:
    sys.exit(f"there is no group {a.group}")
peers = [p for p in PEERS if a.group in p[1].split() and re.search(a.only, p[0])]
if not V["bulkload"] and any(p[0].startswith("pg_bulkload") for p in peers):
    print("pg_bulkload is not installed for this server: left out", file=sys.stderr)
    peers = [p for p in peers if not p[0].startswith("pg_bulkload")]
peers += [(n, a.group, c, None) for n, c in (x.split("|", 1) for x in a.add)]
if a.group == "append":
    inputs()
got, bases, dead = {p[0]: [] for p in peers}, [], set()
for r in range(a.runs):
    i, todo = 0, [p for p in peers if p[0] not in dead]
    before = run(BASE); bases.append(before)
    while i < len(todo):
        part = []
        for p in todo[i:i + a.per_base]:
            x = run(p[2])
            if x is None:
                dead.add(p[0])
            else:
                part.append((p[0], x))
        after = run(BASE); bases.append(after)
        for name, x in part:
            x["ratio"] = x["s"] / ((before["s"] + after["s"]) / 2)
            got[name].append(x)
            print(f"run {r + 1} {name}: {x['s']:.2f} s, {x['ratio']:.2f} x base {before['s']:.2f}/{after['s']:.2f}", file=sys.stderr, flush=True)
        before, i = after, i + a.per_base
med = lambda xs, k: st.median(x[k] for x in xs)
for b in bases:
    b["ratio"] = 1.0
table = [("copy csv (base)", None, bases)] + [(p[0], p[3], got[p[0]]) for p in peers if got[p[0]]]
head = ["peer", "runs", "seconds", "min", "max", "rows", "rows/s", "MB/s", "x base", "cpu_s", "cli_s", "WAL MB"]
lines = [[n, len(x), f"{med(x, 's'):.2f}", f"{min(v['s'] for v in x):.2f}", f"{max(v['s'] for v in x):.2f}", x[0]["rows"],
          round(x[0]["rows"] / med(x, "s")), f"{size(f) / 1e6 / med(x, 's'):.1f}", f"{med(x, 'ratio'):.2f}", f"{med(x, 'cpu'):.2f}",
          f"{med(x, 'cli'):.2f}", f"{float(med(x, 'wal')) / 1e6:.0f}"] for n, f, x in table]
print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
for l in lines:
    print("| " + " | ".join(map(str, l)) + " |")
if a.csv:
    csv.writer(open(a.csv, "a")).writerows([[a.group, a.n] + l for l in lines])
prepare()
