# What scripts of the benchmark share: lineitem as a table, as columns of dlt and as rows; packages made without dlt;
# processor time of the server.
import glob, json, os, shutil, time

# name, type of the table, type of dlt and its hints
LINEITEM = [
    *((f"l_{n}", "bigint", "bigint", {}) for n in ("orderkey", "partkey", "suppkey")),
    ("l_linenumber", "integer", "bigint", {"precision": 32}),
    *((f"l_{n}", "numeric(15,2)", "decimal", {"precision": 15, "scale": 2}) for n in ("quantity", "extendedprice", "discount", "tax")),
    *((f"l_{n}", "varchar", "text", {}) for n in ("returnflag", "linestatus")),
    *((f"l_{n}", "date", "date", {}) for n in ("shipdate", "commitdate", "receiptdate")),
    *((f"l_{n}", "varchar", "text", {}) for n in ("shipinstruct", "shipmode", "comment"))]
NAMES = [c[0] for c in LINEITEM]
COLS = ", ".join(f"{n} {t}" for n, t, _, _ in LINEITEM)


def column(name, kind, **more):
    return name, {"name": name, "data_type": kind, "nullable": True, **more}


LINEITEM_COLUMNS = [column(n, d, **hints) for n, _, d, hints in LINEITEM]
SYSTEM = {"_dlt_version": [column(n, t, nullable=False) for n, t in (
    ("version", "bigint"), ("engine_version", "bigint"), ("inserted_at", "timestamp"), ("schema_name", "text"), ("version_hash", "text"), ("schema", "text"))],
    "_dlt_loads": [column("load_id", "text", nullable=False), column("schema_name", "text"), column("status", "bigint", nullable=False),
                   column("inserted_at", "timestamp", nullable=False), column("schema_version_hash", "text")]}
made = 0


def link(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def new_path(folder):
    """Of a package: a load id that no other has."""
    global made
    made += 1
    return f"{folder}/{time.time():.6f}{made:02d}"


def own_package(folder, tables, extension="csv"):
    """A package below folder. tables: name: (list of columns, disposition). Returns its
    path, and a function that says where the one file of a table is to be put."""
    target = new_path(folder)
    os.makedirs(f"{target}/new_jobs")
    schema = {n: {"name": n, "columns": dict(c), "write_disposition": "skip", "resource": n} for n, c in SYSTEM.items()}
    for n, (c, disposition) in tables.items():
        schema[n] = {"name": n, "columns": dict(c), "write_disposition": disposition, "resource": n, "x-normalizer": {"seen-data": True}}
    json.dump({"version": 1, "version_hash": f"{sorted(tables)[0]}{len(tables)}{min(d for _, d in tables.values())}=", "engine_version": 11, "name": "bench", "tables": schema, "settings": {},
               "previous_hashes": [], "normalizers": {"names": "snake_case", "json": {"module": "dlt.common.normalizers.json.relational"}}},
              open(f"{target}/schema.json", "w"))
    json.dump({"_state_version": 1, "_state_engine_version": 1, "created_at": "2024-01-01T00:00:00+00:00", "_version_hash": "x"},
              open(f"{target}/load_package_state.json", "w"))
    return target, lambda n: f"{target}/new_jobs/{n}.{made:010x}.0.{extension}"


def lineitem_package(folder, file, extension="csv", disposition="append"):
    """A package of one file of lineitem, with a header if it is csv; linked, so the file has to stay as it is."""
    target, place = own_package(folder, {"li": (LINEITEM_COLUMNS, disposition)}, extension)
    link(file, place("li"))
    return target


class ServerCpu:
    """Processor seconds of all processes of the server, those that have ended included."""

    def __init__(self, db):
        self.postmaster = int(db.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)").fetchone()[0])
        self.hz = os.sysconf("SC_CLK_TCK")

    def __call__(self):
        t = 0
        for f in glob.glob("/proc/[0-9]*/stat"):
            try:
                s = open(f).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(s[1]) == self.postmaster:
                t += int(s[11]) + int(s[12])
            elif f == f"/proc/{self.postmaster}/stat":
                t += int(s[13]) + int(s[14])      # children that have ended
        return t / self.hz
