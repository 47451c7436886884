"""What goes wrong, one thing a round: at a fault point (a signal, an error, or the test does something while
the process waits there), at a random moment, or all the while."""
import os, signal, threading, time
import psycopg
from faults import ACTIONS, FIRED, RAISE, WAITING
from server import LIMIT, wait_until

# Reached only after something else has gone wrong.
ERROR_PATHS = ["error to be recorded", "error recorded", "job error to be recorded", "retry waits", "state: failed",
               "state: package failed", "state: resumed", "state: job failed", "a claim let go", "attempt ended",
               "failed before it began", "state: loading", "beginning counted", "staged rows kept or dropped"]
LAUNCHER = ["launcher begins a round", "launcher starts a scout", "scout has gone", "scout looks", "scout sweeps the spool"]
# Beyond what the undisturbed run of another variant has reached.
BY_START = {
    "upload": ["upload: place made", "upload: written", "upload: synced", "upload: renamed", "spool: entry marked",
               "spool: entry to be removed", "spool: entry renamed"],
    "archive": ["unpack: a file written", "unpack: synced", "unpack: renamed", "spool: entry marked",
                "spool: entry to be removed", "spool: entry renamed"],
    "run": ["run: started"]}
STAGED = ["staged", "helpers started", "helpers gone", "helper has a slot", "helper begins", "job claimed", "before a job commits",
          "job committed", "swap heap claimed", "swap heap filled", "heap: made", "heap: has its TOAST", "heap: indexed"]
PAGES = ["storage: run to be logged", "storage: run logged", "storage: run written", "storage: map to be written",
         "storage: to be finished", "storage: kept rows to be written", "storage: an index to be built"]

AT_POINT = [("kill", 22), ("terminate", 12), ("cancel", 8), ("memory", 8), ("disk", 8), ("deadlock", 8), ("kill server", 5), ("stop server", 5),
            ("memory limit", 10)]
WHILE_IT_WAITS = [("pg_terminate_backend", 6), ("pg_cancel_backend", 6), ("loader_cancel", 5), ("file vanishes", 4), ("file shrinks", 4),
                  ("file changes", 4), ("lock held", 8), ("deadlock of two", 6), ("heap held", 80),
                  ("tablespace full", 6), ("WAL full", 2)]
ANY_TIME = [("kill of a process", 6), ("SIGTERM of a process", 6), ("kill of the postmaster", 2), ("immediate stop", 2), ("fast restart", 3),
            ("end of the launcher", 1), ("connection limit", 4), ("no worker slot", 5)]


class Mishap:
    def __init__(self, torture, going, rng):
        self.torture, self.server, self.going, self.rng = torture, torture.server, going, rng
        self.faults = torture.server.faults
        self.happened = self.only_parallel = self.in_parallel = False
        self.point = self.second = self.lock = self.filler = self.hog = None
        self.sessions, self.spoilt = [], []
        known = [(k, w) for k, w in AT_POINT + WHILE_IT_WAITS + ANY_TIME
                 if not (k == "tablespace full" and not self.server.small) and not (k == "WAL full" and not self.server.wal)
                 and not (k.startswith("file") and not self.spoilable())
                 and not (k == "heap held" and not self.has_heap())]
        self.kind = rng.choices([k for k, _ in known], [w for _, w in known])[0]
        self.detail = rng.random()
        if self.kind in ACTIONS:
            self.choose_point(self.kind in RAISE)
            if self.kind in RAISE | {"cancel", "terminate"} and rng.random() < 0.35:
                self.second = (rng.choice(ERROR_PATHS), rng.choice([k for k, _ in AT_POINT]), rng.choice([1, 1, 2]))
        elif self.kind in dict(WHILE_IT_WAITS):
            self.choose_point(False)

    def __str__(self):
        second = f" and {self.second[1]} at \"{self.second[0]}\" ({self.second[2]})" if self.second else ""
        where = " in a parallel worker" if self.only_parallel else ""
        return f"{self.kind}" + (f" at \"{self.point}\" ({self.times}){where}" if self.point else f" ({self.detail:.3f})") + second

    def choose_point(self, raises):
        """A place that the steps reach, rather one at which little has happened yet; and at which time."""
        rng, reached = self.rng, {}
        for track in self.going:
            for point, n in self.torture.env.expected(track)["points"][track.step].items():
                reached[point] = reached.get(point, 0) + n
            more = BY_START.get(track.variant.get("start"), []) + (STAGED if track.variant.get("staged") else []) \
                + (PAGES if track.variant.get("pages") else [])
            for point in more:
                reached.setdefault(point, 1)
        if rng.random() < 0.06:
            reached = {p: 1 for p in LAUNCHER}
        elif rng.random() < 0.05:
            reached = {p: 1 for p in self.torture.points}
        parallel = self.seen_in_parallel()
        if parallel and rng.random() < 0.4:
            reached = parallel
            self.only_parallel = True
        if self.kind == "heap held":
            reached = {"staged": 1}
            self.only_parallel = False
        may = [p for p in sorted(reached) if not raises or self.torture.points[p]]
        self.point = min(rng.sample(may, min(3, len(may))), key=lambda p: (self.torture.faulted[p], p))
        self.times = rng.randint(1, max(1, reached[self.point]))

    def is_parallel(self):
        return any(t.variant.get("parallel") for t in self.going)

    def seen_in_parallel(self):
        """Places that parallel workers have come by so far, if there are to be some; each comes by few times."""
        return {p: 2 for p, n in self.faults.reached_in_parallel().items() if n} if self.is_parallel() else {}

    def spoilable(self):
        return [f for t in self.going if t.variant.get("start") not in ("upload", "archive") for f in t.files]

    def has_heap(self):
        """Does one of the steps fill a swap heap in a transaction of its own? Few do."""
        return any(t.variant.get("staged") and t.variant.get("atomic", True) and not t.variant.get("extra") and t.step > 0 and
                   str(t).startswith("replace_") for t in self.going)

    # --- the round's three calls --------------------------------------------------------------------

    def begin(self):
        if self.point:
            self.faults.arm(0, self.point, self.kind if self.kind in ACTIONS else "wait", self.times,
                            int(self.detail * 1000) * 2000, self.only_parallel)
            if self.second:
                self.faults.arm(1, *self.second)
        elif self.kind == "connection limit":
            self.fill_connections()
        elif self.kind == "no worker slot":
            self.fill_slots()

    def happen(self, idle):
        if self.kind in ACTIONS:
            self.await_point(0, (FIRED,), idle)
            self.happened = self.faults.state(0) == FIRED
            if self.second and self.happened:
                self.await_point(1, (FIRED,), idle)
        elif self.point:
            self.await_point(0, (WAITING, FIRED), idle)
            if self.faults.state(0) == WAITING:
                self.happened = True
                try:
                    self.act(self.faults.pid(0), idle)
                except psycopg.Error as error:      # what the lock was to be on has gone, say
                    self.torture.env.note(error)
                    self.happened = False
                self.faults.release(0)
        else:
            self.at_random(idle)
        self.in_parallel = self.point is not None and self.happened and self.faults.in_parallel(0)

    def undo(self):
        for session in self.sessions:
            try:
                session.cancel()
            except psycopg.Error:
                pass
            session.close()
        if self.hog:
            self.hog.join(LIMIT)
        for restore in self.spoilt:
            restore()
        if self.filler:
            os.unlink(self.filler)
            self.filler = None

    def await_point(self, slot, states, idle):
        """Until it happens there; or the clients have what they want and nobody else can come by; or the
        server has gone, for which it takes an earlier mishap."""
        end = time.monotonic() + LIMIT
        late = None
        while self.faults.state(slot) not in states and time.monotonic() < end:
            if idle():
                late = late or time.monotonic()
                # workers leave, the launcher comes by: nothing depends on it that they do so in time
                if time.monotonic() - late > (1.5 if self.point in LAUNCHER else 0.15):
                    return
            if not self.server.alive():
                return
            time.sleep(0.002)

    def until(self, done, idle, seconds):
        """No longer than that: what is waited for only makes the mishap more likely to hurt."""
        end = time.monotonic() + seconds
        while not done() and not idle() and time.monotonic() < end:
            time.sleep(0.002)

    # --- while a process waits at a point -------------------------------------------------------------

    def act(self, pid, idle):
        if self.kind in ("pg_terminate_backend", "pg_cancel_backend"):
            with self.server.connect() as c:
                c.execute(f"SELECT {self.kind}(%s)", [pid])
        elif self.kind == "loader_cancel":
            with self.server.connect() as c:
                c.execute("SET statement_timeout = '300ms'; SELECT loader_cancel(package_id) FROM loader.package WHERE state IN ('new', 'loading')")
        elif self.kind.startswith("file"):
            path = self.rng.choice(self.spoilable())
            self.happened = self.is_registered(path)
            if self.happened:
                self.spoil(path)
            self.faults.release(0)
            self.until(lambda: False, idle, 1)
        elif self.kind == "lock held":
            self.hold_lock(pid, idle)
        elif self.kind == "deadlock of two":
            self.deadlock(pid, idle)
        elif self.kind == "heap held":
            self.hold_heap(pid, idle)
        else:
            self.fill(self.server.small if self.kind == "tablespace full" else self.server.wal)
            self.faults.release(0)
            self.until(lambda: not self.server.alive(), idle, 0.3 + self.detail * 0.5)

    def is_registered(self, path):
        """A file that is spoilt before anybody has looked at it is another one than the one that is loaded in the end: of
        messages, and so another package, or of rows, and so others."""
        track = next(t for t in self.going if path in t.files)
        with self.server.connect() as c:
            if "messages.jsonl" in path:
                known = c.execute("SELECT EXISTS (SELECT FROM loader.package WHERE source = %s AND state IN ('new', 'loading'))", [path])
            else:
                known = c.execute("SELECT EXISTS (SELECT FROM loader.job JOIN loader.package USING (package_id) WHERE dataset = %s AND load_id = %s AND file_name = %s)",
                                  [track.dataset, track.load_id, os.path.basename(path)])
            return known.fetchone()[0]

    def spoil(self, path):
        """And have it as it was, times included, when it is over."""
        status = os.stat(path)
        with open(path, "rb") as f:
            data = f.read()

        def restore():
            if self.kind == "file vanishes":
                os.rename(path + ".away", path)
                return
            with open(path, "r+b") as f:
                f.write(data)
                f.truncate()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        self.spoilt.append(restore)
        if self.kind == "file vanishes":
            os.rename(path, path + ".away")
            return
        at = self.rng.randrange(len(data)) if data else 0
        with open(path, "r+b") as f:
            if self.kind == "file shrinks":
                f.truncate(at)
            else:
                f.seek(at)
                f.write(bytes([data[at] ^ 1]) if data else b"x")

    def tables(self, c):
        """Of the datasets that are being loaded, and what is theirs elsewhere."""
        names = [self.torture.env.named(d, t.suffix) for t in self.going for d in t.datasets()]
        return [r[0] for r in c.execute(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND (n.nspname = ANY (%s) OR n.nspname IN ('loader_swap', 'airbyte_internal')) ORDER BY 1",
            [names + [f"{n}_staging" for n in names]]).fetchall()]

    def session(self):
        c = self.server.connect()
        self.sessions.append(c)
        c.execute("SET lock_timeout = '50ms'")
        return c

    def hold_lock(self, pid, idle):
        c = self.session()
        found = self.tables(c)
        if not found:
            self.happened = False
            return
        mode = self.rng.choice(["ACCESS SHARE", "ROW EXCLUSIVE", "SHARE", "ACCESS EXCLUSIVE"])
        c.execute(f"BEGIN; LOCK TABLE {self.rng.choice(found)} IN {mode} MODE")
        self.faults.release(0)
        blocked = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
        self.until(lambda: c.execute(blocked).fetchone()[0], idle, 0.1)
        self.until(lambda: False, idle, self.detail * 0.4)
        c.execute("ROLLBACK")

    def deadlock(self, pid, idle):
        """A lock on what the worker has not locked yet, and a wait for what it has."""
        c = self.session()
        found = self.tables(c)
        held = [r[0] for r in c.execute(
            "SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = %s AND l.granted AND c.relkind = 'r'", [pid]).fetchall()]
        mine, its = [t for t in found if t not in held], [t for t in found if t in held]
        if not mine or not its:
            self.happened = False
            return
        c.execute(f"BEGIN; LOCK TABLE {self.rng.choice(mine)} IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = '3s'; SET LOCAL deadlock_timeout = '1s'")
        its = self.rng.choice(its)

        def second():
            try:
                c.execute(f"LOCK TABLE {its} IN ACCESS EXCLUSIVE MODE")
            except psycopg.Error:
                pass

        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        with self.server.connect() as look:
            self.until(lambda: look.execute("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = %s", [c.info.backend_pid]).fetchone()[0]
                       or not thread.is_alive(), lambda: False, 1)
        self.faults.release(0)
        self.until(lambda: not thread.is_alive(), idle, 3)
        self.until(lambda: False, idle, 0.05)

    def hold_heap(self, pid, idle):
        """A swap heap that cannot be dropped when its package ends stays, until a sweep can."""
        c = self.session()
        heaps = [r[0] for r in c.execute(
            "SELECT 'loader_swap.' || quote_ident(relname) FROM pg_class c JOIN loader.stage s ON s.relation = c.oid "
            "JOIN loader.running() r ON r.package_id = s.package_id AND r.is_coordinator WHERE r.pid = %s ORDER BY 1", [pid]).fetchall()]
        if not heaps:
            self.happened = False
            return
        c.execute(f"BEGIN; LOCK TABLE {self.rng.choice(heaps)} IN ACCESS SHARE MODE")
        with self.server.connect() as other:
            other.execute("SELECT pg_cancel_backend(%s)", [pid])
        self.faults.release(0)
        wait_until("the package to stop", idle)
        c.execute("ROLLBACK")
        wait_until("the launcher to sweep", lambda: not c.execute("SELECT 1 FROM torture.left_over WHERE what IN ('swap heap', 'claim')").fetchall())

    def fill(self, directory):
        """All that is free, or but a little of it."""
        self.filler = f"{directory}/filler"
        left = self.rng.choice([0, 0, 8192, 65536])
        with open(self.filler, "wb") as f:
            while True:
                now = os.statvfs(directory)
                size = now.f_bavail * now.f_frsize - left
                if size <= 0:
                    return
                try:
                    os.posix_fallocate(f.fileno(), f.seek(0, os.SEEK_END), size)
                except OSError:
                    left += 4096        # the server was faster

    # --- at a random moment, or all the while -------------------------------------------------------------

    def fill_connections(self):
        while True:
            try:
                self.sessions.append(self.server.once())
            except psycopg.OperationalError:
                return

    def fill_slots(self):
        c = self.session()

        def work():
            try:
                c.execute("SET max_parallel_workers_per_gather = 14; SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; "
                          "SET parallel_tuple_cost = 0; SELECT count(torture.idle(i)) FROM torture.hog")
            except psycopg.Error:
                pass

        self.hog = threading.Thread(target=work, daemon=True)
        self.hog.start()
        with self.server.connect() as look:
            count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"
            wait_until("parallel workers", lambda: look.execute(count).fetchone()[0] >= 10 or not self.hog.is_alive())

    def processes(self, like):
        with self.server.connect() as c:
            return [r[0] for r in c.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type ~ %s ORDER BY pid", [like]).fetchall()]

    def at_random(self, idle):
        if self.kind in ("connection limit", "no worker slot"):
            self.happened = True
            self.until(lambda: False, idle, 0.1 + self.detail * 0.4)
            return
        if self.kind in ("kill of the postmaster", "immediate stop", "fast restart"):
            time.sleep(self.detail * 0.1)
            self.happened = True
            if self.kind == "fast restart":
                self.server.command("pg_ctl", "-D", self.server.data, "-l", self.server.log, "-m", "fast", "-w", "-s", "restart")
                return
            pid = self.server.postmaster()
            self.server.kill(pid, signal.SIGKILL if self.kind == "kill of the postmaster" else signal.SIGQUIT)
            wait_until("the postmaster to end", lambda: not self.server.alive())
            return
        like = "^loader launcher$" if self.kind == "end of the launcher" else self.rng.choice(
            ["^loader (coordinator|job worker)$"] * 3 + ["^client backend$", "^loader"] + ["^parallel worker$"] * self.is_parallel() * 2 +
            (["^(checkpointer|walwriter|background writer|autovacuum)"] if self.kind == "kill of a process" else []))
        found = self.processes(like)
        end = time.monotonic() + 1
        while not found and not idle() and time.monotonic() < end:
            found = self.processes(like)
        time.sleep(self.detail * 0.03)
        if found:
            pid = self.rng.choice(found)
            hard = self.kind == "kill of a process" or (self.kind == "end of the launcher" and self.detail < 0.5)
            self.happened = self.server.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
