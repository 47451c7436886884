"""What is loaded while things go wrong: clients that do not give up. A track is a sequence of packages,
or of syncs, for a dataset of its own; each of its steps has a result that an undisturbed run has shown."""
import hashlib, json, os, random, shutil, struct, tarfile, time
import psycopg
from psycopg import sql
from server import Hang, LIMIT

RESUMES = 30            # of one package: more is a package that never comes in


class Wrong(Exception):
    """What must never happen."""


class Track:
    number = 0

    def __init__(self, env, variant, suffix=None):
        Track.number += 1
        self.env, self.variant = env, variant
        self.suffix = suffix or f"t{Track.number}"
        self.step = 0
        self.files = []             # of the step in hand, for faults that change them
        self.old, self.old_columns = {}, {}

    def datasets(self):
        raise NotImplementedError

    def twin(self, suffix):
        """The same once more, for another dataset."""
        raise NotImplementedError

    def contents(self, dataset, columns=None):
        found = self.env.server.rows("SELECT name, definition, n, sum FROM torture.contents(%s, %s)",
                                     [dataset, json.dumps(columns) if columns is not None else None])
        return {row[0]: row[1:] for row in found}

    def snapshot(self):
        return {d: self.contents(self.env.named(d, self.suffix)) for d in self.datasets()}

    def remember(self):
        """What is there before a step; the same columns are looked at when it has failed."""
        self.old = self.snapshot()
        self.old_columns = {d: self.env.server.value("SELECT torture.columns(%s)", [self.env.named(d, self.suffix)])
                            for d in self.datasets()}

    def connect(self, **more):
        return self.env.server.connect(**more)

    def finish(self):
        """The datasets go, and what the catalog knows of them."""
        server = self.env.server
        names = [self.env.named(d, self.suffix) for d in self.datasets()]
        with server.connect() as c:
            for name in names:
                for schema in name, f"{name}_staging", f"{name}_extra":
                    c.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
                c.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(f"{name}_extra")))
        with server.connect() as c:
            c.execute("SELECT loader_forget(package_id) FROM loader.package WHERE dataset = ANY (%s)", [names])
        shutil.rmtree(f"{self.env.packages}/{self.suffix}", ignore_errors=True)

    # --- a package in the catalog until it is loaded ----------------------------------------------

    def find(self, c, load_id, dataset):
        row = c.execute("SELECT package_id FROM loader.package WHERE load_id = %s AND dataset = %s AND NOT superseded",
                        [load_id, dataset]).fetchone()
        return row and row[0]

    def see_through(self, package_id, gate, stopped):
        """Wait for the package, and resume it when it has stopped, until it is loaded."""
        resumes = 0
        end = time.monotonic() + LIMIT
        while True:
            if time.monotonic() > end:
                raise Hang(f"package {package_id} of {self} does not end")
            try:
                with self.connect() as c:
                    state, problem = self.look(c, package_id)
                    if state is None:
                        return False        # what was not committed is gone
                    if state == "loaded":
                        return True
                    if state in ("failed", "cancelled"):
                        gate.wait(LIMIT)
                        stopped(c, state, problem)
                        if state == "failed" and random.random() < 0.3:
                            c.execute("SELECT loader_cancel(%s)", [package_id])
                        resumes += 1
                        if resumes > RESUMES:
                            raise Wrong(f"package {package_id} was resumed {RESUMES} times, and fails with {problem}")
                        self.go_on(c, package_id)
                    elif random.random() < 0.3:
                        time.sleep(0.02)
            except psycopg.Error as error:
                self.env.note(error)
                time.sleep(0.01)

    def go_on(self, c, package_id):
        c.execute("SELECT loader_resume(%s)", [package_id])

    def look(self, c, package_id):
        """Its state; waits for it if it is under way, which starts what nobody works on."""
        row = c.execute("SELECT state, wanted, sqlstate, message FROM loader.package WHERE package_id = %s",
                        [package_id]).fetchone()
        if row is None:
            return None, None
        state, wanted, sqlstate, message = row
        if state == "new" and not wanted:
            c.execute("SELECT loader_start(%s)", [package_id])
        elif state in ("new", "loading") and self.variant.get("waits", True):
            c.execute("SELECT loader_wait(%s, '2 s')", [package_id])
        elif state in ("new", "loading"):
            time.sleep(0.02)
        return state, f"{sqlstate} {message}"

    def check_old(self, what):
        """A package that has stopped must not show: what was there is there, and nothing else."""
        for d in self.datasets():
            now = self.contents(self.env.named(d, self.suffix), self.old_columns[d])
            if now != self.old[d]:
                raise Wrong(f"{what}, but {difference(self.old[d], now)}")


def difference(expected, now):
    lines = []
    for name in sorted(expected.keys() | now.keys()):
        e, n = expected.get(name), now.get(name)
        if e is None or n is None:
            lines.append(f"table {name} " + ("should not be there" if e is None else "is missing"))
        elif e != n:
            lines.append(f"table {name} has {n[1]} rows, expected {e[1]}" if e[1] != n[1] else
                         f"table {name}: other rows" if e[0] == n[0] else f"table {name} is {n[0]}, expected {e[0]}")
    return "; ".join(lines) or "no difference"


# --- packages of dlt ------------------------------------------------------------------------------

class Package(Track):
    """A scenario of the oracle, by one of the ways to start a package."""

    def __init__(self, env, scenario, variant, suffix=None):
        super().__init__(env, variant, suffix)
        self.scenario = scenario
        self.steps = len(scenario["steps"])

    def __str__(self):
        return f"{self.scenario['name']}/{self.step + 1} {self.variant}"

    def key(self):
        shown = {k: v for k, v in self.variant.items() if k in ("atomic", "extra", "mode")}
        return f"{self.scenario['name']} {json.dumps(shown, sort_keys=True)}"

    def datasets(self):
        return sorted({s["dataset"] for s in self.scenario["steps"]})

    def twin(self, suffix):
        return type(self)(self.env, self.scenario, self.variant, suffix)

    def prepare(self):
        """A copy of the step's package, in a directory of its own."""
        step = self.scenario["steps"][self.step]
        self.dataset = self.env.named(step["dataset"], self.suffix)
        self.parent = f"{self.env.packages}/{self.suffix}/{step['dir']}"
        self.path = f"{self.parent}/{step['load_id']}"
        shutil.rmtree(self.parent, ignore_errors=True)
        shutil.copytree(os.path.join(self.env.scenarios, self.scenario["name"], step["package"]), self.path)
        jobs = f"{self.path}/new_jobs"
        self.files = sorted(f"{jobs}/{f}" for f in os.listdir(jobs)) if os.path.isdir(jobs) else []
        self.load_id = step["load_id"]
        self.options = dict(step["options"])
        if not self.variant.get("atomic", True):
            self.options["atomic"] = False
        if self.refuses():
            self.options["on_error"] = "reject"
        if self.step == 1 and self.variant.get("extra"):
            self.env.extra(self.variant["extra"], self.dataset)

    def source(self, c):
        how = self.variant["start"]
        if how == "upload":
            self.upload(c)
            return f"upload:{self.suffix}-{self.step}"
        if how == "archive":
            archive = f"{self.parent}/archive/{self.load_id}.tar.gz"
            if not os.path.exists(archive):
                os.makedirs(os.path.dirname(archive), exist_ok=True)
                with tarfile.open(archive, "w:gz") as tar:
                    tar.add(self.path, arcname=self.load_id)
            return archive
        return self.path

    def upload(self, c):
        name = f"{self.suffix}-{self.step}"
        for folder, names in (self.path, ["schema.json", "load_package_state.json"]), (f"{self.path}/new_jobs", sorted(os.listdir(f"{self.path}/new_jobs"))):
            for file in names:
                with open(os.path.join(folder, file), "rb") as f:
                    data = f.read()
                shown = os.path.join(self.load_id, os.path.relpath(os.path.join(folder, file), self.path))
                there = c.execute("SELECT loader_upload(%s, %s, NULL, NULL)", [name, shown]).fetchone()[0]
                if there == 0 and len(data) > 1:
                    there = c.execute("SELECT loader_upload(%s, %s, 0, %s)", [name, shown, data[: len(data) // 2]]).fetchone()[0]
                there = min(there, len(data))
                c.execute("SELECT loader_upload(%s, %s, %s, %s, %s, %s)",
                          [name, shown, there, data[there:], len(data), hashlib.sha256(data).digest()])

    def begin(self, c):
        """Start the package, if it is not known; returns its id."""
        if self.find(c, self.load_id, self.dataset) is None:
            self.start(c)
        return self.find(c, self.load_id, self.dataset)

    def start(self, c, how=None):
        """Register it and start it; what has stopped is registered anew."""
        how = how or self.variant["start"]
        c.execute(f"SET loader.small_package = {0 if self.variant.get('staged') else 4096}")
        c.execute(f"SET loader.storage_sink = {'on' if self.variant.get('pages') else 'off'}")
        c.execute(f"SET loader.min_parallel_file_size = {0 if self.variant.get('parallel') else 4096}")
        source = self.source(c)
        options = {"dataset": self.dataset, **self.options}
        if how == "scan":
            source = self.parent
        arguments = sql.SQL(", ").join([sql.Literal(source)] + [sql.SQL("{} => {}").format(sql.Identifier(k), sql.Literal(v))
                                                               for k, v in options.items()])
        if how == "run":
            c.execute(sql.SQL("CALL loader_run({})").format(arguments))
        elif how == "register":
            package_id = c.execute(sql.SQL("SELECT loader_register({})").format(arguments)).fetchone()[0]
            c.execute("SELECT loader_start(%s)", [package_id])
        else:
            c.execute(sql.SQL("SELECT {}({})").format(sql.SQL("loader_scan" if how == "scan" else "loader_start"), arguments))

    def run(self, gate):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                with self.connect() as c:
                    package_id = self.begin(c)
                if package_id and self.see_through(package_id, gate, self.stopped):
                    if self.refuses():
                        self.replay(package_id)
                    return
            except psycopg.Error as error:
                self.env.note(error)
                gate.after(error)
        raise Hang(f"{self} does not come in")

    def refuses(self):
        """The tables refuse rows of this step, which are set aside."""
        return self.variant.get("extra") == "check" and self.step == 1

    def replay(self, package_id):
        """The tables take all rows again, and what was set aside is loaded, where that can be done."""
        with self.connect() as c, c.transaction():
            tables = c.execute("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = 'extra' AND connamespace = to_regnamespace(quote_ident(%s))",
                               [self.dataset]).fetchall()
            for (table,) in tables:
                c.execute(f"ALTER TABLE {table} DROP CONSTRAINT extra")
            try:
                with c.transaction():
                    c.execute("SELECT loader_replay(%s)", [package_id])
            except psycopg.errors.FeatureNotSupported:
                pass

    def go_on(self, c, package_id):
        """A package that was registered while one of its files was spoilt has to be registered anew, which a scan does not."""
        if random.random() < 0.25:
            self.start(c, "start" if self.variant["start"] == "scan" else self.variant["start"])
        else:
            super().go_on(c, package_id)

    def stopped(self, c, state, problem):
        if self.variant.get("atomic", True):
            self.check_old(f"package is {state} ({problem})")


class Jobs(Package):
    """The same, file by file, as dlt's own loader would drive it."""

    def run(self, gate):
        end = time.monotonic() + LIMIT
        with open(f"{self.path}/schema.json", encoding="utf-8") as f:
            self.schema = f.read()
        while time.monotonic() < end:
            try:
                with self.connect() as c:
                    self.drive(c)
                return
            except psycopg.Error as error:
                self.env.note(error)
                if "was cancelled" in str(error):
                    self.resume(gate)
                else:
                    gate.after(error)
        raise Hang(f"{self} does not come in")

    def resume(self, gate):
        gate.wait(LIMIT)
        with self.connect() as c:
            c.execute("SELECT loader_resume(package_id) FROM loader.package WHERE dataset = %s AND state = 'cancelled'", [self.dataset])

    def drive(self, c):
        tables = json.loads(self.schema)["tables"]
        root = lambda t: root(tables[t]["parent"]) if tables[t].get("parent") else t
        merged = lambda t: tables[root(t)].get("write_disposition") == "merge"
        used = sorted({os.path.basename(f).split(".")[0] for f in self.files})
        staged = sorted({t for t in tables if any(root(t) == root(u) for u in used) and merged(t)})
        c.execute("SELECT loader_initialize_storage(%s)", [self.dataset])
        c.execute("SELECT loader_update_stored_schema(%s, %s)", [self.dataset, self.schema])
        if staged:
            c.execute("SELECT loader_initialize_storage(%s, staging => true)", [self.dataset])
            c.execute("SELECT loader_update_stored_schema(%s, %s, only_tables => %s, staging => true)", [self.dataset, self.schema, staged])
        for n, file in enumerate(self.files):
            if n == 1 and self.variant.get("stops"):
                for call in "loader_cancel", "loader_resume":
                    c.execute(f"SELECT {call}(package_id) FROM loader.package WHERE dataset = %s AND state <> 'loaded'", [self.dataset])
            c.execute("CALL loader_start_file_load(%s, %s, %s, %s, %s, staging => %s)",
                      [self.dataset, self.schema, self.load_id, os.path.basename(file), file, merged(os.path.basename(file).split(".")[0])])
        with open(f"{self.path}/load_package_state.json", encoding="utf-8") as f:
            state = f.read()
        for chain in sorted({root(u) for u in used if merged(u)}):
            for (call,) in c.execute("SELECT content FROM loader_create_table_chain_completed_followup_jobs(%s, %s, %s, %s, state => %s)",
                                     [self.dataset, self.schema, self.load_id, chain, state]).fetchall():
                c.execute(call)
        c.execute("SELECT loader_complete_load(%s, %s, %s)", [self.dataset, self.schema, self.load_id])


# --- Airbyte --------------------------------------------------------------------------------------

STREAMS = {"added": "append", "replaced": "overwrite", "merged": "append_dedup"}


def catalog(step):
    return json.dumps({"streams": [{
        "stream": {"name": name, "supported_sync_modes": ["full_refresh", "incremental"], "json_schema": {
            "type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "updated": {"type": "integer"}}}},
        "sync_mode": "incremental", "destination_sync_mode": mode, "cursor_field": ["updated"], "primary_key": [["id"]],
        "generation_id": step + 2, "minimum_generation_id": step + 2 if mode == "overwrite" else 0, "sync_id": step + 2}
        for name, mode in STREAMS.items()]})


def messages(step, after):
    """What the source has to say in a step, of records behind the states that it goes on from."""
    said = []
    lines = {}
    for name, mode in STREAMS.items():
        record = lambda i: {"type": "RECORD", "record": {"stream": name, "emitted_at": 1700000000000 + i, "data": {
            "id": i % 7 if mode == "append_dedup" else i, "name": f"{name} {i} " + "x" * (3000 if i % 5 == 0 else 10), "updated": i}}}
        state = lambda i: {"type": "STATE", "state": {"type": "STREAM", "stream": {"stream_descriptor": {"name": name}, "stream_state": {"at": i}}}}
        status = lambda s: {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "emitted_at": 1700000000000,
                            "stream_status": {"stream_descriptor": {"name": name}, "status": s}}}
        of = lines[name] = [status("STARTED")]
        for i in range(step * 10 + 1, step * 10 + 9):
            if i > after.get(name, 0):
                of.append(record(i))
                if i % 2 == 0:
                    of.append(state(i))
        of.append(status("COMPLETE"))
    # side by side, so that records of one are spooled while another is written
    while any(lines.values()):
        for name in STREAMS:
            said += lines[name][:3]
            lines[name] = lines[name][3:]
    return [json.dumps(m) for m in said]


class Stream(Track):
    steps = 3

    def __str__(self):
        return f"{type(self).__name__}/{self.step + 1} {self.variant}"

    def key(self):
        return type(self).__name__

    def datasets(self):
        return ["airbyte"]

    def twin(self, suffix):
        return type(self)(self.env, self.variant, suffix)

    def prepare(self):
        self.dataset = self.env.named("airbyte", self.suffix)

    def check_streams(self, what):
        """Of a sync that has stopped each stream is as it was or as it is to be; rows are added one by one."""
        new = self.env.expected(self)["contents"][self.step]["airbyte"]
        old = self.old["airbyte"]
        now = self.contents(self.dataset)
        for name, is_now in now.items():
            if name not in STREAMS or is_now in (old.get(name), new[name]) or (name not in old and is_now[1] == 0):
                continue
            if name != "added" or not old.get(name, (0, 0))[1] <= is_now[1] <= new[name][1]:
                raise Wrong(f"{what}, but stream {name} has {is_now[1]} rows: neither the old ones nor the new ones")


def zstd(data):
    """A zstd frame of stored blocks: no library for it has to be there."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", len(data))
    for at in range(0, len(data), 1000):
        block = data[at:at + 1000]
        frame += struct.pack("<I", (len(block) << 3) | (at + 1000 >= len(data)))[:3] + block
    return frame


class StreamFile(Stream):
    def prepare(self):
        super().prepare()
        self.parent = f"{self.env.packages}/{self.suffix}/{self.step}"
        os.makedirs(self.parent, exist_ok=True)
        data = "".join(m + "\n" for m in messages(self.step, {})).encode()
        file = f"{self.parent}/messages.jsonl" + (".zst" if self.variant.get("zstd") else "")
        with open(file, "wb") as f:
            f.write(zstd(data) if self.variant.get("zstd") else data)
        self.files = [file]

    def run(self, gate):
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                with self.connect() as c:
                    package_id = c.execute("SELECT loader_start(%s, %s::json, %s::jsonb, source_name => %s)", [
                        self.files[0], catalog(self.step), json.dumps({"schema": self.dataset}), self.suffix]).fetchone()[0]
                if self.see_through(package_id, gate, lambda c, state, problem: self.check_streams(f"sync is {state} ({problem})")):
                    return
            except psycopg.Error as error:
                self.env.note(error)
                gate.after(error)
        raise Hang(f"{self} does not come in")


class StreamSession(Stream):
    def run(self, gate):
        end = time.monotonic() + LIMIT
        tries = 0
        while time.monotonic() < end:
            try:
                with self.connect() as c:
                    if self.sync(c):
                        return
            except psycopg.Error as error:
                self.env.note(error)
                # the table of a sync that is ending, a worker's slot: only time helps
                if error.sqlstate not in ("55006", "53400"):
                    tries += 1
            if tries > RESUMES:
                gate.wait(LIMIT)
                raise Wrong(f"{self} failed {RESUMES} times: {self.env.last}")
            self.check_streams("sync has failed")
            time.sleep(0.02)
        raise Hang(f"{self} does not come in")

    def sync(self, c):
        """One sync, from the states on that were committed. True if it was loaded."""
        after = {s["stream"]["stream_descriptor"]["name"]: s["stream"]["stream_state"]["at"]
                 for s in c.execute("SELECT loader_airbyte_states(%s)", [self.suffix]).fetchone()[0]}
        for name, at in after.items():
            if not self.step * 10 <= at <= self.step * 10 + 8 and at != self.step * 10 - 2:
                raise Wrong(f"the state of {name} is {at} in step {self.step}")
        sync = c.execute("SELECT loader_airbyte_open(%s::jsonb, %s::json, source_name => %s)",
                         [json.dumps({"schema": self.dataset}), catalog(self.step), self.suffix]).fetchone()[0]
        said = messages(self.step, after)
        for at in range(0, len(said), 7):
            c.execute("SELECT loader_airbyte_write(%s, %s)", [sync, "".join(m + "\n" for m in said[at:at + 7]).encode()])
        report = c.execute("SELECT loader_airbyte_close(%s)", [sync]).fetchone()[0]
        if report["state"] != "loaded":
            self.env.note(json.dumps(report.get("error")))
        return report["state"] == "loaded"


# --- which ----------------------------------------------------------------------------------------

def new_track(env, rng):
    """A track of some kind, over all that the loader does."""
    kind = rng.random()
    if kind < 0.12:
        return StreamSession(env, {})
    if kind < 0.22:
        return StreamFile(env, {"zstd": rng.random() < 0.5, "waits": rng.random() < 0.8})
    if kind < 0.30:
        name = rng.choice(["append_nested", "several_files", "merge_primary_key", "upsert_nested", "scd2_nested"])
        return Jobs(env, env.scenario(name), {"mode": "job", "stops": rng.random() < 0.3})
    scenario = env.scenario(rng.choice(env.names + [n for n in env.names if n.startswith("replace_")] * 2))
    refusing = rng.random() < 0.12
    if refusing:
        scenario = env.scenario(rng.choice(["append_nested", "several_files", "merge_primary_key", "upsert_nested", "insert_only", "replace_truncate"]))
    variant = {"start": rng.choice(["start", "start", "start", "start", "run", "run", "scan", "register", "upload", "upload", "archive"]),
               "waits": rng.random() < 0.8}
    if rng.random() < 0.45:
        variant["staged"] = True
    if rng.random() < 0.3:
        variant["atomic"] = False
    if refusing:
        variant["extra"] = "check"
    elif scenario["name"].startswith("replace_") and rng.random() < 0.6:
        variant["extra"] = rng.choice(["trigger", "publication", "reference"])
    if rng.random() < 0.6:
        variant["pages"] = True
        if rng.random() < 0.6:
            variant["parallel"] = True
    return Package(env, scenario, variant)
