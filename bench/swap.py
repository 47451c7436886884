# Replaces a loaded table while swap_probe.py watches it: loader beside dlt's three replace strategies.
#   usage: swap.py --dsn URL --packages DIR [--name replace_csv_split] [--times 1] [--runs 1] [--only REGEX]
#                  [--count-ms 300] [--add 'NAME|COMMAND']
# The table has a view, a grant, a comment and an index of its own, which may get lost. Each run starts from a table
# that loader has made, with some rows missing so that old and new counts differ. --times N: each data
# file N times, for loader alone. Commands see {dsn} {pk} {name} {py} {here} {times}. Prints one line of JSON a run to
# stderr, then a table; latencies are of the worst run.
import argparse, json, os, re, subprocess, sys
import psycopg

a = argparse.ArgumentParser()
a.add_argument("--dsn", required=True); a.add_argument("--packages", required=True)
a.add_argument("--name", default="replace_csv_split"); a.add_argument("--times", type=int, default=1)
a.add_argument("--runs", type=int, default=1); a.add_argument("--only", default=".")
a.add_argument("--count-ms", type=int, default=300)
a.add_argument("--add", action="append", default=[], metavar="NAME|COMMAND")
a = a.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
LOADER = '{py} {here}/loader_load.py {pk} {name} "{dsn}" --times {times}'
DLT = '{py} {here}/dlt_load.py {pk} {name} "{dsn}" --replace '
# name, command, milliseconds between two counts of all rows (0: nobody counts)
PEERS = [("nothing, for 10 s", "sleep 10", a.count_ms),
         ("loader", LOADER, a.count_ms),
         ("loader, short readers only", LOADER, 0),
         *[(f"dlt {s}", DLT + s, a.count_ms) for s in ("truncate-and-insert", "insert-from-staging", "staging-optimized")]]
PEERS += [(*x.split("|", 1), a.count_ms) for x in a.add]
peers = [p for p in PEERS if re.search(a.only, p[0]) and (a.times == 1 or not p[0].startswith("dlt"))]
V = dict(py=sys.executable, here=here, pk=os.path.abspath(a.packages), dsn=a.dsn, name=a.name, times=a.times)


def execute(*sql):
    with psycopg.connect(a.dsn, autocommit=True) as c:
        c.execute("set client_min_messages = error")
        for s in sql:
            c.execute(s)


def prepare():
    execute("drop schema if exists dlt_bench cascade", "drop schema if exists dlt_bench_staging cascade", "checkpoint")
    subprocess.run(["bash", "-c", LOADER.format(**V)], check=True, stdout=subprocess.DEVNULL)
    # the state row of the same package would be a duplicate
    execute("delete from dlt_bench.li where l_orderkey < 1000", "truncate dlt_bench._dlt_pipeline_state",
            "vacuum (analyze) dlt_bench.li", "checkpoint")


def probe(command, count_ms):
    r = subprocess.run([sys.executable, f"{here}/swap_probe.py", "--dsn", a.dsn, "--table", "dlt_bench.li", "--column", "l_orderkey",
                        "--decorate", "--json", "--count-ms", str(count_ms), "--", "bash", "-c", command.format(**V)],
                       capture_output=True, text=True)
    if r.returncode:
        sys.exit(r.stderr)
    return json.loads(r.stdout.strip().splitlines()[-1])


def lost(x):
    was, now = x["before"], x["after"]
    kept = dict(oid="OID", acl="grants", comment="comment", indexes="indexes", view="view")
    gone = [label for key, label in kept.items() if was.get(key) != now.get(key)]
    return "the load fails" if x["command_rc"] else ", ".join(gone) or "nothing"


def seconds(x):
    said = [l.split()[1] for l in x["loader_said"] if l.startswith("seconds: ")]
    return float(said[0]) if said else x["command_s"]


def hold(x):
    said = [json.loads(l) for l in x["loader_said"] if l.startswith("[{")]
    return max([float(t["lock_hold_ms"] or 0) for tables in said for t in tables], default=None)


got = {p[0]: [] for p in peers}
for r in range(a.runs):
    for name, command, count_ms in peers:
        prepare()
        x = probe(command, count_ms)
        got[name].append(x)
        print(json.dumps({"run": r + 1, "peer": name, **x}), file=sys.stderr, flush=True)
print("| replaced by | load s | reads | p50 ms | p99 | p99.9 | max | errors s | empty s | not whole s | lock held ms | lost |")
print("|" + "---|" * 12)
for name, xs in got.items():
    worst = lambda k, xs=xs: max(x[k] for x in xs)
    holds = [hold(x) for x in xs if hold(x) is not None]
    print(f"| {name} | {max(map(seconds, xs)):.1f} | {sum(x['limit_probes'] for x in xs)} | "
          + " | ".join(f"{worst(f'limit_{k}_ms'):.1f}" for k in ("p50", "p99", "p999", "max"))
          + f" | {worst('error_s'):.1f} | {worst('empty_s'):.1f} | {worst('partial_s'):.1f} | "
          f"{f'{max(holds):.1f}' if holds else ''} | {'; '.join(sorted({lost(x) for x in xs}))} |")
