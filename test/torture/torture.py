#!/usr/bin/env python3
"""Load packages and syncs of all kinds while things go wrong, and see that nothing is lost or doubled.

    torture.py --work DIR --bindir DIR --library DIR --source TREE [--user NAME] [--small DIR] [--wal DIR]

SEED and FAULTS come from the environment. Each round lets some tracks (loads.py) go on by a step each,
makes one thing go wrong (mishaps.py), waits until all are loaded, and compares with what an undisturbed
run has left. Prints a line for what went wrong for good, counts, and 'N passed, N failed'.
"""
import argparse, collections, json, os, random, signal, subprocess, sys, threading, time, traceback
import psycopg
from psycopg import sql
import loads
from faults import points_of
from loads import Wrong, difference
from mishaps import Mishap
from server import Hang, LIMIT, Server, wait_until

SKIPPED = {"geometry_csv", "geometry_insert_values", "geometry_jsonl"}      # they need PostGIS
GIVE_UP = 5             # failures, after which nothing new is learned


class Gate:
    """Shut while a fault lasts: who has met it waits here before he tries again."""

    def __init__(self):
        self.open = threading.Event()
        self.waiting = 0
        self.lock = threading.Lock()

    def wait(self, seconds):
        with self.lock:
            self.waiting += 1
        if not self.open.wait(seconds):
            raise Hang("the fault does not end")
        with self.lock:
            self.waiting -= 1

    def after(self, error):
        """The server was not there: it will be. It was, and said no: nothing helps before the fault ends."""
        if error.sqlstate is None or error.sqlstate[:2] in ("57", "08", "53"):
            time.sleep(0.01)
        else:
            self.wait(LIMIT)


class Env:
    """What tracks share."""

    def __init__(self, server, work, source):
        self.server, self.work = server, work
        self.packages = f"{work}/packages"
        self.scenarios = f"{source}/test/oracle/scenarios"
        self.names = sorted(n for n in os.listdir(self.scenarios)
                            if n not in SKIPPED and os.path.exists(f"{self.scenarios}/{n}/scenario.json"))
        self.references = {}
        self.last = ""
        self.said = collections.deque(maxlen=40)

    def note(self, error):
        self.last = str(error).strip()
        self.said.append(f"{time.strftime('%H:%M:%S')} {getattr(error, 'sqlstate', '')} {self.last.splitlines()[0] if self.last else ''}")

    def scenario(self, name):
        with open(f"{self.scenarios}/{name}/scenario.json", encoding="utf-8") as f:
            return json.load(f)

    @staticmethod
    def named(dataset, suffix):
        return f"{dataset}_{suffix}"

    def extra(self, what, dataset):
        """Something about the tables for which they cannot be swapped, or refuse rows."""
        with self.server.connect() as c:
            tables = [r[0] for r in c.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind = 'r' "
                "AND relname NOT LIKE '\\_dlt%%' ORDER BY 1", [dataset]).fetchall()]
            with c.transaction():
                self.add_extra(c, what, dataset, tables)

    @staticmethod
    def add_extra(c, what, dataset, tables):
        if what == "reference":
            c.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(f"{dataset}_extra")))
        for n, table in enumerate(tables):
            name = sql.Identifier(dataset, table)
            if what == "trigger":
                c.execute(sql.SQL("CREATE TRIGGER extra AFTER INSERT OR DELETE ON {} EXECUTE FUNCTION torture.on_change()").format(name))
            elif what == "check":
                c.execute(sql.SQL("ALTER TABLE {} ADD CONSTRAINT extra CHECK (hashtext(_dlt_id) % 3 <> 0) NOT VALID").format(name))
            elif what == "reference":
                c.execute(sql.SQL("CREATE TABLE {} (id varchar REFERENCES {} (_dlt_id))").format(
                    sql.Identifier(f"{dataset}_extra", f"r{n}"), name))
        if what == "publication" and tables:
            c.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(
                sql.Identifier(f"{dataset}_extra"), sql.SQL(", ").join(sql.Identifier(dataset, t) for t in tables)))

    # --- what an undisturbed run leaves -------------------------------------------------------------

    def expected(self, track):
        """Contents after each step, and how often each place was reached in it."""
        key = track.key()
        if key not in self.references:
            self.references[key] = self.refer(track)
        return self.references[key]

    def refer(self, track):
        """The same steps, in peace."""
        quiet = track.twin(f"r{len(self.references)}")
        gate = Gate()
        gate.open.set()
        found = {"contents": [], "points": []}
        for step in range(quiet.steps):
            quiet.step = step
            before = self.server.faults.reached()
            quiet.prepare()
            quiet.run(gate)
            after = self.server.faults.reached()
            found["contents"].append(quiet.snapshot())
            found["points"].append({p: after[p] - before[p] for p in after if after[p] > before[p]})
        quiet.finish()
        return found


class Torture:
    def __init__(self, args):
        self.seed, self.wanted = int(os.environ.get("SEED") or 1), int(os.environ.get("FAULTS") or 2000)
        self.points = points_of(f"{args.source}/src")
        self.server = Server(args.work, args.bindir, args.library, args.user, args.small, args.wal)
        self.env = Env(self.server, args.work, args.source)
        self.counts, self.faulted, self.faulted_in_parallel = (collections.Counter() for _ in range(3))
        self.faults = self.rounds = self.failed = self.checks = 0
        self.tracks, self.slowest = [], (0, "")
        self.log_seen = 0
        self.complete = self.wanted >= 2000         # so many reach all places
        self.amcheck = False

    # --- rounds -------------------------------------------------------------------------------------

    def run(self):
        began = time.monotonic()
        self.server.make(self.points)
        self.prepare_database()
        print(f"seed {self.seed}, {self.wanted} faults, {len(self.points)} fault points; small tablespace: "
              f"{'a file system of its own' if self.server.small else 'none, disk full by errors at fault points'}; "
              f"WAL: {'a file system of its own' if self.server.wal else 'the same'}; "
              f"amcheck: {'yes' if self.amcheck else 'not installed'}", flush=True)
        while self.faults < self.wanted and self.failed < GIVE_UP and self.rounds < 4 * self.wanted + 100:
            self.round()
            if self.rounds % 50 == 0:
                print(f"# {self.rounds} rounds, {self.faults} faults, {self.failed} failed, {time.monotonic() - began:.0f} s", flush=True)
        if self.failed < GIVE_UP:
            self.attempt("the end", self.end)
        self.summary(time.monotonic() - began)

    def prepare_database(self):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "contents.sql"), encoding="utf-8") as f:
            text = f.read()
        with self.server.connect() as c:
            c.execute(text)
            try:
                c.execute("CREATE EXTENSION amcheck")
                self.amcheck = True
            except psycopg.Error:
                pass

    def attempt(self, what, work):
        """True if all was right. What was not is told, with how to have it again."""
        try:
            work()
            return True
        except (Wrong, Hang) as error:
            problem = str(error)
        except Exception:       # of the test itself, or of what nobody has thought of
            problem = traceback.format_exc()
        self.failed += 1
        print(f"FAILED: round {self.rounds}, fault {self.faults + 1}: {what}: {problem}")
        print(f"repeat: SEED={self.seed} FAULTS={self.faults + 1} make torture")
        self.report_server()
        sys.stdout.flush()
        return False

    def report_server(self):
        for line in self.env.said:
            print(f"  client: {line}")
        try:
            for row in self.server.rows("SELECT pid, backend_type, state, wait_event, left(query, 100) FROM pg_stat_activity "
                                        "WHERE backend_type NOT IN ('checkpointer', 'background writer', 'walwriter')"):
                print(f"  session: {row}")
            for row in self.server.rows("SELECT pid, locktype, relation::regclass::text, objsubid, mode FROM pg_locks WHERE NOT granted "
                                        "OR (locktype = 'advisory' AND objsubid > 2)"):
                print(f"  lock: {row}")
            for row in self.server.rows("SELECT package_id, dataset, state, wanted, attempts, sqlstate, message, detail FROM loader.package "
                                        "ORDER BY package_id DESC LIMIT 5"):
                print(f"  package: {row}")
            for row in self.server.rows("SELECT e.* FROM loader.event e ORDER BY event_id DESC LIMIT 6"):
                print(f"  event: {str(row[1:])[:200]}")
        except Exception as error:
            print(f"  no report: {error}")
        subprocess.run(["tail", "-n", "30", self.server.log], stdout=sys.stdout, check=False)

    def round(self):
        if self.rounds % 20 == 0:       # else it would load most of the files, which are small, before its workers are there
            self.server.change("parallel_leader_participation", "on" if self.rounds % 40 else "off")
        self.rounds += 1
        rng = random.Random(f"{self.seed}/{self.rounds}")
        while len(self.tracks) < 3:
            track = loads.new_track(self.env, rng)
            if self.attempt(f"undisturbed: {track}", lambda: self.env.expected(track)):
                self.tracks.append(track)
            elif self.failed >= GIVE_UP:
                return
        going = rng.sample(self.tracks, rng.choice([1, 1, 2, 3]))
        mishap = Mishap(self, going, rng)
        shown = f"{mishap} during {', '.join(map(str, going))}"
        if os.environ.get("VERBOSE"):
            print(f"# {self.rounds}: {shown}", flush=True)
        began = time.monotonic()
        right = self.attempt(shown, lambda: self.torment(going, mishap))
        self.slowest = max(self.slowest, (time.monotonic() - began, f"round {self.rounds}: {shown}"))
        if not right:
            self.start_over()
        elif mishap.happened:
            self.faults += 1
            self.counts[mishap.kind] += 1
            if mishap.point:
                self.faulted[mishap.point] += 1
                self.faulted_in_parallel[mishap.point] += mishap.in_parallel

    def torment(self, going, mishap):
        gate = Gate()
        problems = []

        def client(track):
            try:
                track.run(gate)
            except (Wrong, Hang) as error:
                problems.append(error)
            except Exception as error:
                problems.append(Wrong(f"{track}: {traceback.format_exc()}"))
            finally:
                self.server.leave()

        self.env.said.clear()
        for track in going:
            track.prepare()
            track.remember()
        before = self.server.value("SELECT pg_postmaster_start_time()::text || (SELECT min(backend_start)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer')")
        threads = [threading.Thread(target=client, args=[track], daemon=True) for track in going]
        idle = lambda: sum(t.is_alive() for t in threads) <= gate.waiting
        try:
            mishap.begin()
            for t in threads:
                t.start()
            mishap.happen(idle)
        finally:
            self.server.faults.disarm()
            mishap.undo()
            self.server.ensure()
            gate.open.set()
        for t in threads:
            t.join(LIMIT + 30)
            if t.is_alive():
                raise Hang("a client does not end")
        if problems:
            raise problems[0]
        self.server.ensure()
        self.check(going)
        after = self.server.value("SELECT pg_postmaster_start_time()::text || (SELECT min(backend_start)::text FROM pg_stat_activity WHERE backend_type = 'checkpointer')")
        self.check_files(before != after)
        if self.rounds % 25 == 0:       # crashes come faster than autovacuum
            with self.server.connect() as c:
                c.execute("VACUUM")
        for track in going:
            track.step += 1
            if track.step == track.steps:
                self.tracks.remove(track)
                self.check_trees(track)
                track.finish()

    def start_over(self):
        """After a failure the next rounds must not fail for the same reason."""
        try:
            self.server.faults.disarm()
            self.server.ensure()
            with self.server.connect() as c:
                c.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'loader %' OR "
                          "(backend_type = 'client backend' AND pid <> pg_backend_pid())")
                c.execute("DELETE FROM loader.package; DELETE FROM loader.stage; DELETE FROM loader.stream; DELETE FROM loader.stream_state")
                for (name,) in c.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '_t[0-9]+(_staging|_extra)?$' OR nspname = 'airbyte_internal'").fetchall():
                    c.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
                for (name,) in c.execute("SELECT relname FROM pg_class WHERE relnamespace = 'loader_swap'::regnamespace AND relkind = 'r'").fetchall():
                    c.execute(sql.SQL("DROP TABLE loader_swap.{} CASCADE").format(sql.Identifier(name)))
        except Exception:
            print(f"# could not clean up: {traceback.format_exc()}")
        self.tracks = []

    # --- what must hold -----------------------------------------------------------------------------

    def check(self, going):
        self.wait_quiet()
        for track in going:
            expected = self.env.expected(track)["contents"][track.step]
            for dataset in track.datasets():
                now = track.contents(self.env.named(dataset, track.suffix))
                if now != expected[dataset]:
                    raise Wrong(f"{track} is loaded, but {difference(expected[dataset], now)}")
        left = self.server.rows("SELECT what, which FROM torture.left_over")
        if left:
            wait_until("sweeps", lambda: not self.server.rows("SELECT what, which FROM torture.left_over"))
        self.check_spool()
        self.checks += 1

    def wait_quiet(self):
        """No worker, and no lock of ours: a scout has some for a moment."""
        busy = ("SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'loader %' AND backend_type NOT IN "
                "('loader launcher', 'loader scout')) + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid > 2)")
        try:
            wait_until("workers and locks to go", lambda: self.server.value(busy) == 0)
        except Hang as error:
            raise Wrong(f"{error}: {self.server.rows('SELECT * FROM pg_stat_activity')}") from error

    def check_spool(self):
        root = f"{self.server.data}/loader_spool"

        def entries():
            found = []
            for folder in (f"{root}/{d}/{r}" for d in self.listed(root) for r in self.listed(f"{root}/{d}")):
                found += [f"{folder}/{e}" for e in self.listed(folder)]
            return found

        if entries():
            wait_until(f"the spool to be swept of {entries()}", lambda: not entries())

    @staticmethod
    def listed(folder):
        try:
            return os.listdir(folder)
        except OSError:
            return []

    def stray_files(self):
        """Numbers of files that no relation has, and where they are."""
        nodes = "SELECT pg_relation_filenode(oid)::text FROM pg_class WHERE pg_relation_filenode(oid) IS NOT NULL"
        with self.server.connect() as c:
            c.execute("CHECKPOINT")         # which removes the files of what was dropped
            path = c.execute("SELECT pg_relation_filepath('pg_class')").fetchone()[0]
            folder = f"{self.server.data}/{os.path.dirname(path)}"
            # one that is made, or dropped, between two looks is not in all of them
            known = {r[0] for r in c.execute(nodes).fetchall()}
            there = {f.split(".")[0].split("_")[0] for f in self.listed(folder) if f[:1].isdigit()}
            known |= {r[0] for r in c.execute(nodes).fetchall()}
        return there - known, folder

    def has_forgotten(self):
        """Has there been no memory to undo a transaction since the last look? The server takes the name of a file from
        the list of those that it has to remove before it asks for memory to do so."""
        with open(self.server.log, "rb") as f:
            f.seek(self.log_seen)
            said = f.read()
            self.log_seen = f.tell()
        return b"AbortTransaction while in ABORT state" in said

    def check_files(self, crashed):
        """The server leaves files when it dies while a transaction is open that has made them, and no
        extension can do better; but there are none after a round without a crash."""
        if self.rounds % 10 and not crashed:
            return
        crashed = self.has_forgotten() or crashed
        strays, folder = self.stray_files()
        if strays and not crashed:
            strays &= self.stray_files()[0]
            if strays:
                raise Wrong(f"files of no relation: {sorted(strays)}")
        for file in self.listed(folder):
            if file.split(".")[0].split("_")[0] in strays:
                os.unlink(f"{folder}/{file}")

    CHECK_TREES = """SELECT bt_index_check(c.oid, heapallindexed => true) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
        WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisvalid AND {}"""
    CHECK_HEAPS = """SELECT c.relname, v.* FROM pg_class c, verify_heapam(c.oid, check_toast => true) v WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p' AND {}"""

    def check_trees(self, track=None):
        if not self.amcheck:
            return
        where = "true"
        if track:
            names = [self.env.named(d, track.suffix) for d in track.datasets()]
            where = sql.SQL("c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ({}))").format(names).as_string(None)
        with self.server.connect() as c:
            try:
                c.execute(self.CHECK_TREES.format(where))
                bad = c.execute(self.CHECK_HEAPS.format(where)).fetchall()
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                raise Wrong(f"amcheck: {error}") from error
        if bad:
            raise Wrong(f"amcheck: {bad[:3]}")

    def end(self):
        for track in self.tracks:
            track.finish()
        self.wait_quiet()
        self.check_spool()
        left = self.server.rows("SELECT what, which FROM torture.left_over")
        if left:
            raise Wrong(f"left at the end: {left}")
        self.check_trees()

    # --- the end ------------------------------------------------------------------------------------

    def summary(self, seconds):
        reached = self.server.faults.reached()
        never = [p for p, n in reached.items() if n == 0]
        in_parallel = self.server.faults.reached_in_parallel()
        print("== fault points: how often reached, and how often something happened there; of that, in parallel workers")
        for point, n in sorted(reached.items()):
            of_that = f"{in_parallel[point]:7d} {self.faulted_in_parallel[point]:5d}" if in_parallel[point] else " " * 13
            print(f"{n:9d} {self.faulted[point]:5d} {of_that}  {point}")
        if never:
            print(f"not reached: {', '.join(never)}")
        print(f"slowest, {self.slowest[0]:.1f} s, {self.slowest[1]}")
        print("== faults: " + ", ".join(f"{n} {kind}" for kind, n in self.counts.most_common()))
        print(f"seed {self.seed}: {self.faults} faults in {self.rounds} rounds, {len(reached) - len(never)} of {len(reached)} fault points reached, "
              f"{sum(n > 0 for n in self.faulted.values())} of them with a fault, {sum(n > 0 for n in in_parallel.values())} by parallel workers, "
              f"{sum(n > 0 for n in self.faulted_in_parallel.values())} with a fault there, {self.checks} comparisons, {seconds:.0f} s")
        if never and self.complete:
            self.failed += 1
            print("FAILED: fault points were not reached")
        if self.faults < self.wanted and not self.failed:
            self.failed += 1
            print(f"FAILED: only {self.faults} of {self.wanted} faults happened")
        print(f"{self.faults} passed, {self.failed} failed", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in "work", "bindir", "library", "source":
        p.add_argument(f"--{name}", required=True)
    p.add_argument("--user")
    p.add_argument("--small")
    p.add_argument("--wal")
    torture = Torture(p.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    try:
        torture.run()
    finally:
        torture.server.stop()
    return 1 if torture.failed else 0


if __name__ == "__main__":
    sys.exit(main())
