"""What is done to packages. Each change takes (random, package), changes the package and returns
what must come of it: LOAD, REFUSE, or EITHER, where only a plausible outcome is asked for.

SPECIAL holds changes that are made once each, RANDOM those that draw where and what. A change that
finds nothing to do in a package returns None.
"""
import copy
import gzip
import json
import os
import random as random_module
import tarfile

from package import (add_member, gzip_bomb, pack_gzip, pack_zstd, tar_of, zstd_bomb, zstd_frame)

LOAD, REFUSE, EITHER = "load", "refuse", "either"
SPECIAL = []
RANDOM = []


def special(expect):
    """A change that is made once; it may return another expectation."""
    def add(change):
        SPECIAL.append((change.__name__, lambda random, package: change(random, package) or expect))
        return change
    return add


def drawn(weight):
    def add(change):
        RANDOM.append((change.__name__, weight, change))
        return change
    return add


# --- bytes and files ----------------------------------------------------------------------------

@drawn(6)
def bit_flips(random, package):
    name = random.choice(sorted(package.files))
    data = bytearray(package.files[name])
    if not data:
        return None
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    package.files[name] = bytes(data)
    return EITHER


@drawn(4)
def cut_file(random, package):
    name = random.choice(sorted(n for n in package.files if package.files[n]) or [None])
    if name is None or name == "schema_updates.json":
        return None
    data = package.files[name]
    cut = random.randrange(len(data))
    package.files[name] = data[:cut]
    # what ends with a line may end early, unless it is packed
    plain = name.startswith("new_jobs/") and data[:2] != b"\x1f\x8b"
    blank = not data[cut:].strip()
    return EITHER if plain or blank or (cut == 0 and name != "schema.json") else REFUSE


@drawn(2)
def lengthen_file(random, package):
    name = random.choice(sorted(package.files))
    data = package.files[name]
    extra = random.choice((b"\0", b"\0" * 600, b"\n", b"{}", data, b"\xff\xfe", os.fsencode("ä")))
    package.files[name] = data + extra
    return EITHER


@drawn(2)
def swap_files(random, package):
    names = sorted(package.files)
    if len(names) < 2:
        return None
    a, b = random.sample(names, 2)
    package.files[a], package.files[b] = package.files[b], package.files[a]
    return REFUSE if "schema.json" in (a, b) else EITHER


@drawn(1)
def double_job(random, package):
    if not package.jobs():
        return None
    name = random.choice(package.jobs())
    table, file_id, retry, rest = name.split(".", 3)
    other = random.choice((f"{table}.{file_id}x.{retry}.{rest}", f"{table}.{file_id}.7.{rest}",
                           f"{table}.{file_id}.{retry}.{rest.removesuffix('.gz')}.zst"))
    package.files[other] = package.files[name]
    return EITHER


@drawn(1)
def lose_file(random, package):
    name = random.choice(sorted(package.files))
    del package.files[name]
    return REFUSE if name == "schema.json" else EITHER


HOSTILE_NAMES = [
    b"%s%n%d.a.0.csv", b"a'b.a.0.csv", b'a"b.a.0.csv', b"..", b"...", b".a.0.csv", b"a..0.csv",
    b"a.b.c.csv", b"a.b.-1.csv", b"a.b.99999999999999999999.csv", b"a.b.0.", b"a.b.0.exe",
    b"a.b.0.csv.gz.gz", b"a.b.0.insert_values.zst.bz2", b"\x01\x1b[31m.a.0.csv", b"a\nb.a.0.csv",
    b"\xff\xfe.a.0.csv", b"\xc3(.a.0.csv", b"a" * 64 + b".b.0.csv", b"a" * 240 + b".b.0.csv",
    b"-rf.a.0.csv", b"a b.c.0.csv", b"a;drop.c.0.csv", b"$(id).a.0.csv", b"csv", b"a.csv",
    b"loader.package.a.0.csv", b"nowhere.a.0.parquet", b"nowhere.a.0.jsonl", b"a.b.0.csv~",
    b"core", b"\xe2\x80\xae.a.0.csv", b"_dlt_loads.x.0.jsonl", b"_dlt_version.x.0.jsonl",
]


@drawn(2)
def hostile_job_name(random, package):
    name = random.choice(HOSTILE_NAMES)
    if name in (b"..",):
        name = b"..x"
    source = random.choice(package.jobs() or ["schema.json"])
    package.files["new_jobs/" + os.fsdecode(name)] = package.files[source]
    return EITHER if name.startswith((b".", b"_dlt")) else REFUSE


# --- documents ----------------------------------------------------------------------------------

DEEP = "[" * 3000 + "]" * 3000
HOSTILE_JSON = [
    "null", "true", "false", "0", "-1", "1", "2147483648", "9223372036854775808", "1e308", "1e999",
    "-0.0", "1.5", '""', '" "', "[]", "{}", "[[]]", '{"":""}', '"\\u0000"', '"a\\u0000b"',
    '"\\ud800"', '"\\udc00\\ud800"', '"%s%n%p"', '"\'; DROP SCHEMA public CASCADE; --"',
    '"a\\"b"', '"../../etc/passwd"', '"/etc/passwd"', '"' + "x" * 63 + '"', '"' + "x" * 64 + '"',
    '"' + "ä" * 40 + '"', '"' + "x" * 100000 + '"', DEEP, '"\\u001b[31m"', '"\\n\\t\\r"', '"pg_catalog"',
    '"loader"', '"public"', '"_dlt_loads"', '"append"', '"replace"', '"merge"', '"skip"', '"text"',
    '"json"', '"wei"', '"xmin"', '"ctid"', '"tableoid"', '"$libdir"', "NaN", "Infinity", "[null]",
    "1" * 400, "-" + "1" * 400, '"2024-01-01"', '"0000-00-00"', '"infinity"', '"\\u202e"',
]
TABLE_KEYS = [
    "name", "columns", "parent", "resource", "write_disposition", "x-merge-strategy", "x-replace-strategy",
    "file_format", "x-normalizer", "x-merge-source-filter", "x-merge-destination-scope",
    "x-boundary-timestamp", "x-merge-skip-unchanged-rows", "x-stage-data-deduplicated",
    "schema_contract", "filters", "description", "incremental", "table_format",
]
COLUMN_KEYS = [
    "name", "data_type", "nullable", "timezone", "precision", "scale", "unique", "primary_key",
    "merge_key", "row_key", "parent_key", "root_key", "hard_delete", "dedup_sort", "x-row-version",
    "x-valid-from", "x-valid-to", "x-postgres-geometry", "x-postgres-srid",
    "x-active-record-timestamp", "sort", "cluster", "partition", "variant", "description",
]
STRATEGIES = ["delete-insert", "upsert", "scd2", "insert-only", "cdc", "truncate-and-insert",
              "insert-from-staging", "staging-optimized", "diff", "none"]


class Raw:
    """JSON text that no document of Python's could hold."""

    def __init__(self, text):
        self.text = text


def dump(value):
    """JSON, with what is Raw as it stands."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{dump(k)}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def nodes(value, path=()):
    """All places in a document."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from nodes(value[key], path + (key,))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from nodes(item, path + (i,))


def change_node(random, document, raw):
    """One hostile value at a random place, or a key removed, renamed or doubled."""
    path = random.choice(list(nodes(document))[1:] or [()])
    if not path:
        return
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    what = random.randrange(6)
    if what == 0:
        del parent[path[-1]]
    elif what == 1 and isinstance(parent, dict):
        items = list(parent.items())
        key = path[-1]
        parent.clear()
        for k, v in items:
            parent[raw(random) if k == key else k] = v
    elif what == 2 and isinstance(parent, dict):
        # the same key twice
        parent[Raw(dump(path[-1]))] = copy.deepcopy(parent[path[-1]])
    else:
        parent[path[-1]] = raw(random)


def hostile_value(random):
    return Raw(random.choice(HOSTILE_JSON))


def hostile_key(random):
    return Raw(random.choice([v for v in HOSTILE_JSON if v.startswith('"')]))


def store(package, name, document):
    package.files[name] = dump(document).encode("utf-8", "surrogatepass")


def load(package, name="schema.json"):
    try:
        document = json.loads(package.files[name])
    except (KeyError, ValueError):
        return None
    return document if isinstance(document, dict) else None


@drawn(6)
def hostile_schema_value(random, package):
    document = load(package)
    for _ in range(random.choice((1, 1, 2))):
        change_node(random, document, lambda r: hostile_value(r) if r.random() < 0.6 else hostile_key(r))
    store(package, "schema.json", document)
    return EITHER


@drawn(6)
def hostile_hint(random, package):
    """A key that dlt knows, at a table or a column that has rows, with a value of any kind."""
    document = load(package)
    names = sorted({n.split("/")[1].split(".")[0] for n in package.jobs()} & set(document["tables"]))
    if not names:
        return None
    table = document["tables"][random.choice(names)]
    for _ in range(random.choice((1, 1, 2, 3))):
        if random.random() < 0.5 and isinstance(table.get("columns"), dict) and table["columns"]:
            column = random.choice(sorted(table["columns"]))
            table["columns"][column][random.choice(COLUMN_KEYS)] = random.choice(
                (True, True, False, hostile_value(random), "asc", "bigint", "decimal", "time"))
        else:
            table[random.choice(TABLE_KEYS)] = random.choice(
                ("append", "replace", "merge", hostile_value(random), {"merge_strategy": "scd2"},
                 *random.sample(STRATEGIES, 2)))
            if random.random() < 0.5:
                table["write_disposition"] = random.choice(("merge", "replace"))
                table["x-merge-strategy"] = random.choice(STRATEGIES)
    store(package, "schema.json", document)
    return EITHER


@drawn(3)
def rename_in_schema(random, package):
    document = load(package)
    tables = document["tables"]
    name = random.choice(sorted(tables))
    if random.random() < 0.5 and tables[name].get("columns"):
        columns = tables[name]["columns"]
        old = random.choice(sorted(columns))
        new = hostile_key(random)
        tables[name]["columns"] = {(new if k == old else k): v for k, v in columns.items()}
        columns[old]["name"] = new
    else:
        new = hostile_key(random)
        tables[name]["name"] = new
        document["tables"] = {(new if k == name else k): v for k, v in tables.items()}
    store(package, "schema.json", document)
    return EITHER


@drawn(3)
def hostile_state(random, package):
    """load_package_state.json: any value of it, or the lists of a refresh."""
    document = load(package, "load_package_state.json")
    if document is None:
        return None
    what = random.randrange(4)
    if what == 0:
        table = lambda: {"name": hostile_key(random), "columns": {}} if random.random() < 0.5 else hostile_value(random)
        document[random.choice(("dropped_tables", "truncated_tables"))] = [table() for _ in range(random.choice((1, 3, 50)))]
    elif what == 1:
        document["pipeline_state"] = hostile_value(random)
    elif what == 2 and isinstance(document.get("pipeline_state"), dict):
        document["pipeline_state"]["state"] = Raw(json.dumps(random.choice(
            ("eJwDAAAAAAE=", "AAAA", "!!!!", "eNo=", "eJzLSM3JyQcABiwCFQ==", "x" * 100000))))
    else:
        change_node(random, document, lambda r: hostile_value(r))
    store(package, "load_package_state.json", document)
    return EITHER


# --- rows ---------------------------------------------------------------------------------------

HOSTILE_BYTES = [
    b"\0", b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\u0000", b"\\ud83d", b"'", b'"',
    b"\\", b"\n", b"\r", b",", b"(", b")", b";", b"{", b"}", b"[" * 2000, b"NULL", b"1e999", b"-", b"NaN",
    b"9" * 30, b"x" * 100000, b"''", b'""', b"\\x", b"\\777", b"\xef\xbb\xbf", b"--", b"/*", b"::text",
    b"now()", b"$1", b"0000-00-00", b"24:00:00", b"infinity", b"294277-01-01 00:00:00+00", b"%s%n",
]


def repack(random, data, how=None):
    return (how or random.choice((lambda d: d, pack_gzip, pack_zstd)))(data)


@drawn(6)
def hostile_row(random, package):
    jobs = package.data_jobs()
    if not jobs:
        return None
    name = random.choice(jobs)
    data = bytearray(package.content(name))
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(data) + 1)
        data[at : at + random.choice((0, 0, 1, 5, 40))] = random.choice(HOSTILE_BYTES)
    package.files[name] = repack(random, bytes(data))
    return EITHER


@drawn(1)
def other_packing(random, package):
    """The same rows, packed another way: no damage at all."""
    for name in package.jobs():
        data = package.content(name)
        package.files[name] = random.choice((
            lambda d: repack(random, d), lambda d: pack_gzip(d[: len(d) // 2]) + pack_gzip(d[len(d) // 2 :]),
            lambda d: pack_zstd(d[: len(d) // 2]) + zstd_frame([(0, b"")]) + pack_zstd(d[len(d) // 2 :]),
            lambda d: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + pack_zstd(d)))(data)
    return LOAD


@drawn(2)
def broken_packing(random, package):
    if not package.jobs():
        return None
    name = random.choice(package.jobs())
    data = package.content(name)
    if not data:
        return None
    gz, zst = pack_gzip(data), pack_zstd(data)
    package.files[name] = random.choice((
        gz[:-4] + bytes(4 * [gz[-4] ^ 1]), gz[:-8] + b"\0\0\0\0" + gz[-4:] if gz[-8:-4] != b"\0\0\0\0" else gz[:-8],
        gz + b"garbage", zst + b"garbage", gz[: len(gz) // 2], zst[:-1], gz[:10], zst[:6],
        gz + gz[: len(gz) // 2], zst + gz, gz + zst, b"\x1f\x8b\x08\xff" + gz[4:],
        zst[:4] + b"\xff" + zst[5:], zst[:5] + b"\xff" + zst[6:]))
    return REFUSE


# --- archives -----------------------------------------------------------------------------------

def put_archive(package, data, name=None):
    package.archive = (name or f"{package.load_id}.tar", data)


@drawn(1)
def good_archive(random, package):
    data = tar_of(package, fmt=random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
    suffix, how = random.choice((("", bytes), (".gz", pack_gzip), (".zst", pack_zstd)))
    put_archive(package, how(data), f"{package.load_id}.tar{suffix}")
    return LOAD


@drawn(3)
def damaged_archive(random, package):
    data = bytearray(tar_of(package))
    what = random.randrange(4)
    if what == 0:
        put_archive(package, bytes(data[: random.randrange(len(data) - 10240)]) if len(data) > 10240 else b"")
        return REFUSE
    if what == 1:
        for _ in range(random.choice((1, 4))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif what == 2:
        # a header, its checksum made right again
        at = 512 * random.randrange(len(data) // 512)
        field, size = random.choice(((0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
        text = random.choice((b"\xff" * size, b"7" * size, b"\0" * size, b"../x\0", b"/x\0", b"\x80" + b"\xff" * (size - 1)))[:size]
        data[at + field : at + field + len(text)] = text
        data[at + 148 : at + 156] = b" " * 8
        data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    else:
        data = bytearray(pack_gzip(bytes(data)))
        data[random.randrange(10, len(data))] ^= 1 << random.randrange(8)
    put_archive(package, bytes(data))
    return EITHER


def archive_with(name, **fields):
    def change(random, package):
        put_archive(package, tar_of(package, lambda tar: add_member(
            tar, name.format(id=package.load_id), **fields)))
    return change


for title, name, fields in [
    ("archive_symlink", "{id}/new_jobs/a.b.0.csv", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    ("archive_symlink_directory", "{id}/new_jobs", {"type": tarfile.SYMTYPE, "linkname": "/tmp"}),
    ("archive_hard_link", "{id}/new_jobs/a.b.0.csv", {"type": tarfile.LNKTYPE, "linkname": "{id}/schema.json"}),
    ("archive_device", "{id}/new_jobs/a.b.0.csv", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}),
    ("archive_pipe", "{id}/new_jobs/a.b.0.csv", {"type": tarfile.FIFOTYPE}),
    ("archive_above", "{id}/../x/schema.json", {"data": b"{}"}),
    ("archive_absolute", "/tmp/{id}/schema.json", {"data": b"{}"}),
    ("archive_other_root", "other/schema.json", {"data": b"{}"}),
    ("archive_twice", "{id}/schema.json", {"data": b"{}"}),
    ("archive_backslash", "{id}\\new_jobs\\a.b.0.csv", {"data": b"id\n"}),
    ("archive_control_name", "{id}/new_jobs/a\x01\x1b[m.b.0.csv", {"data": b"id\n"}),
    ("archive_long_name", "{id}/new_jobs/" + "a" * 3000 + ".b.0.csv", {"data": b"id\n"}),
    ("archive_percent_name", "{id}/new_jobs/%s%n.b.0.csv", {"data": b"id\n"}),
    ("archive_deep_name", "{id}/" + "a/" * 500 + "x", {"data": b"x"}),
]:
    SPECIAL.append((title, lambda random, package, f=archive_with(name, **fields): f(random, package) or REFUSE))


@special(REFUSE)
def archive_many_members(random, package):
    put_archive(package, pack_gzip(tar_of(package, lambda tar: [
        add_member(tar, f"{package.load_id}/x{i}", b"") for i in range(20000)])))


@special(REFUSE)
def archive_bomb(random, package):
    """A schema of 3 GB in a few kilobytes."""
    info = tarfile.TarInfo(f"{package.load_id}/schema.json")
    info.size = 3 << 30
    put_archive(package, zstd_bomb(info.tobuf(tarfile.GNU_FORMAT), b" ", info.size))


@special(REFUSE)
def archive_empty(random, package):
    put_archive(package, b"\0" * 10240)


@special(REFUSE)
def archive_no_bytes(random, package):
    put_archive(package, b"")


@special(REFUSE)
def archive_in_archive(random, package):
    put_archive(package, pack_gzip(pack_gzip(tar_of(package))))


# --- once each: documents -----------------------------------------------------------------------

def document_is(name, title, data):
    def change(random, package):
        package.files[name] = data
    # an empty state document, or none of the keys that we look at, is as good as none
    harmless = name != "schema.json" and title in ("object", "unknown_key", "blanks")
    SPECIAL.append((f"{name.split('.')[0]}_{title}", lambda random, package: change(random, package) or
                    (EITHER if harmless else REFUSE)))


for document_name in ("schema.json", "load_package_state.json"):
    for title, data in [
        ("empty", b""), ("blank", b" \n" * 1000), ("array", b"[]"), ("object", b"{}"), ("null", b"null"), ("number", b"1"),
        ("nul", b"\0" * 100), ("not_utf8", b'{"name":"\xff\xfe"}'), ("utf16", '{"name":"x"}'.encode("utf-16")),
        ("deep_array", b"[" * 1000000), ("deep_object", b'{"a":' * 500000), ("unclosed", b'{"tables":{"a":'),
        ("two_documents", b"{}{}"), ("unknown_key", b'{"surprise":1}'), ("comment", b"// x\n{}"),
        ("blanks", b"{" + b" " * (70 << 20) + b"}"),
        ("huge_number", b'{"engine_version":' + b"9" * 1000000 + b"}"), ("lone_surrogate", b'{"name":"\\ud800"}'),
    ]:
        document_is(document_name, title, data)


def schema_with(title, expect):
    """A change of the parsed schema; it is given a table that the package has a job for."""
    def add(change):
        def run(random, package):
            document = load(package)
            names = sorted({n.split("/")[1].split(".")[0] for n in package.data_jobs()} & set(document["tables"]))
            change(document, document["tables"], names[0] if names else sorted(document["tables"])[0])
            store(package, "schema.json", document)
            return expect
        SPECIAL.append(("schema_" + title, run))
        return change
    return add


def column(name, **more):
    return {"name": name, "data_type": "bigint", "nullable": True, **more}


@schema_with("10000_tables", EITHER)
def _(document, tables, name):
    for i in range(10000):
        tables[f"t{i}"] = {"name": f"t{i}", "columns": {"a": column("a")}, "write_disposition": "append"}


@schema_with("10000_seen_tables", EITHER)
def _(document, tables, name):
    for i in range(10000):
        tables[f"t{i}"] = {"name": f"t{i}", "columns": {"a": column("a")}, "write_disposition": "append",
                           "x-normalizer": {"seen-data": True}}


@schema_with("1599_columns", EITHER)
def _(document, tables, name):
    for i in range(1500):
        tables[name]["columns"][f"c{i}"] = column(f"c{i}")


@schema_with("1700_columns", REFUSE)
def _(document, tables, name):
    for i in range(1700):
        tables[name]["columns"][f"c{i}"] = column(f"c{i}")


@schema_with("100000_columns", REFUSE)
def _(document, tables, name):
    for i in range(100000):
        tables[name]["columns"][f"c{i}"] = column(f"c{i}")


@schema_with("deep_chain", EITHER)
def _(document, tables, name):
    for i in range(5000):
        tables[f"t{i}"] = {"name": f"t{i}", "columns": {"a": column("a")}, "parent": f"t{i + 1}" if i < 4999 else name}


@schema_with("own_parent", REFUSE)
def _(document, tables, name):
    tables[name]["parent"] = name


@schema_with("cyclic_parents", REFUSE)
def _(document, tables, name):
    for i in range(1000):
        tables[f"t{i}"] = {"name": f"t{i}", "columns": {"a": column("a")}, "parent": f"t{(i + 1) % 1000}"}


@schema_with("no_parent", REFUSE)
def _(document, tables, name):
    tables[name]["parent"] = "nowhere"


@schema_with("parent_above", REFUSE)
def _(document, tables, name):
    tables[name]["parent"] = "../x"


@schema_with("no_tables", REFUSE)
def _(document, tables, name):
    tables.clear()


@schema_with("no_columns", REFUSE)
def _(document, tables, name):
    tables[name]["columns"].clear()


@schema_with("hint_of_hints", EITHER)
def _(document, tables, name):
    for c in tables[name]["columns"].values():
        c.update(primary_key=True, merge_key=True, unique=True, nullable=False)


@schema_with("dlt_tables_replaced", EITHER)
def _(document, tables, name):
    for own in ("_dlt_version", "_dlt_loads", "_dlt_pipeline_state"):
        if own in tables:
            tables[own]["write_disposition"] = "replace"


@schema_with("dlt_tables_other_columns", EITHER)
def _(document, tables, name):
    tables["_dlt_loads"]["columns"] = {"a": column("a")}


@schema_with("huge_precision", EITHER)
def _(document, tables, name):
    for c in tables[name]["columns"].values():
        c.update(precision=9223372036854775807, scale=9223372036854775807)


@schema_with("huge_scale", EITHER)
def _(document, tables, name):
    for c in tables[name]["columns"].values():
        c.update(data_type="decimal", precision=1000, scale=1001)


@schema_with("filter_is_sql", REFUSE)
def _(document, tables, name):
    tables[name].update({"write_disposition": "merge", "x-merge-strategy": "delete-insert",
                         "x-merge-destination-scope": "true); DROP SCHEMA public CASCADE; SELECT (true"})
    for c in tables[name]["columns"].values():
        c["merge_key"] = True


@schema_with("engine_999", REFUSE)
def _(document, tables, name):
    document["engine_version"] = 999
    document["surprise"] = {"a": 1}


@schema_with("every_key_unknown", EITHER)
def _(document, tables, name):
    for i in range(1000):
        document[f"k{i}"] = i
        tables[name][f"k{i}"] = i


@schema_with("name_long", REFUSE)
def _(document, tables, name):
    document["name"] = "x" * 1000000


@special(EITHER)
def state_drops_much(random, package):
    document = load(package, "load_package_state.json") or {}
    document["dropped_tables"] = [{"name": f"t{i}", "columns": {}} for i in range(10000)]
    store(package, "load_package_state.json", document)


@special(REFUSE)
def state_drops_itself(random, package):
    document = load(package, "load_package_state.json") or {}
    document["dropped_tables"] = [{"name": "_dlt_loads", "columns": {}}]
    store(package, "load_package_state.json", document)


def pipeline_state_is(title, text):
    def change(random, package):
        document = load(package, "load_package_state.json") or {}
        document["pipeline_state"] = dict(document.get("pipeline_state") or {"version": 1, "pipeline_name": "p"}, state=text)
        store(package, "load_package_state.json", document)
        return EITHER
    SPECIAL.append(("pipeline_state_" + title, change))


def zlib_text(data):
    import base64
    import zlib

    return base64.b64encode(zlib.compress(data, 9)).decode()


pipeline_state_is("bomb", zlib_text(b" " * (64 << 20)))
pipeline_state_is("no_json", zlib_text(b"no"))
pipeline_state_is("deep", zlib_text(b"[" * 1000000))
pipeline_state_is("hostile_names", zlib_text(json.dumps(
    {"default_schema_name": "../x\u0000", "dataset_name": "pg_catalog", "schema_names": ["a"] * 10}).encode()))


# --- once each: files ---------------------------------------------------------------------------

def first_job(package):
    return (package.data_jobs() or [None])[0]


@special(REFUSE)
def no_jobs_directory(random, package):
    for name in package.jobs():
        del package.files[name]
    package.directories.discard("new_jobs")


@special(REFUSE)
def jobs_is_a_file(random, package):
    for name in package.jobs():
        del package.files[name]
    package.directories.discard("new_jobs")
    package.files["new_jobs"] = b""


def after(title, expect, action):
    SPECIAL.append((title, lambda random, package: package.after.append(action) or expect))


def link_first(path, target):
    name = os.path.join(path, "new_jobs", sorted(os.listdir(os.path.join(path, "new_jobs")))[0])
    os.unlink(name)
    os.symlink(target, name)


def replace_by(name, make):
    def action(path):
        full = os.path.join(path, name)
        if os.path.isfile(full):
            os.unlink(full)
        make(full)
    return action


after("job_is_a_link", REFUSE, lambda p: link_first(p, "/etc/passwd"))
after("job_is_a_broken_link", REFUSE, lambda p: link_first(p, "/nowhere"))
after("job_is_a_link_to_itself", REFUSE, lambda p: link_first(p, "itself") or os.symlink("itself", p + "/new_jobs/itself"))
after("job_is_a_pipe", REFUSE, lambda p: os.mkfifo(p + "/new_jobs/a.b.0.csv"))
after("job_is_a_directory", REFUSE, lambda p: os.mkdir(p + "/new_jobs/a.b.0.csv"))
after("schema_is_a_link", REFUSE, replace_by("schema.json", lambda f: os.symlink("/etc/passwd", f)))
after("schema_is_zero_device", REFUSE, replace_by("schema.json", lambda f: os.symlink("/dev/zero", f)))
after("schema_is_a_pipe", REFUSE, replace_by("schema.json", os.mkfifo))
after("schema_is_a_directory", REFUSE, replace_by("schema.json", os.mkdir))
after("state_is_a_pipe", REFUSE, replace_by("load_package_state.json", os.mkfifo))
after("state_is_a_link", REFUSE, replace_by("load_package_state.json", lambda f: os.symlink("/dev/zero", f)))
after("other_files", EITHER, lambda p: [open(os.path.join(p, n), "w").close() for n in ("x", "y.json", ".z")] and None)
after("began_to_load", REFUSE, lambda p: [os.mkdir(os.path.join(p, n)) for n in ("started_jobs", "completed_jobs", "failed_jobs")]
      and open(p + "/completed_jobs/a.b.0.csv", "w").close())
for i, hostile in enumerate(HOSTILE_NAMES[:28]):
    if hostile not in (b"..", b"...", b".a.0.csv"):
        SPECIAL.append((f"job_name_{i}", lambda random, package, n=hostile:
                        package.files.update({"new_jobs/" + os.fsdecode(n): b"id\n1\n"}) or REFUSE))


# --- once each: packing -------------------------------------------------------------------------

def job_is(title, expect, make):
    def change(random, package):
        name = first_job(package)
        if name is None:
            return None
        package.files[name] = make(package.content(name))
        return expect
    SPECIAL.append((title, change))


job_is("zstd_bomb_of_zeros", REFUSE, lambda d: zstd_bomb(b"", b"\0", 2 << 30))
job_is("zstd_bomb_of_blanks", EITHER, lambda d: zstd_bomb(d + b"\n", b"\n", 256 << 20))
job_is("zstd_bomb_in_a_value", REFUSE, lambda d: zstd_bomb(d[: max(d.rfind(b"'"), d.rfind(b'"'))], b"x", 96 << 20))
job_is("gzip_bomb_of_zeros", REFUSE, lambda d: gzip_bomb(b"", b"\0", 256 << 20))
job_is("zstd_huge_window", REFUSE, lambda d: zstd_frame([(0, d)], window=0xFF))
job_is("zstd_of_zstd", REFUSE, lambda d: pack_zstd(pack_zstd(d)))
job_is("gzip_no_members_end", REFUSE, lambda d: pack_gzip(d) * 2 + b"\x1f\x8b")
job_is("gzip_many_members", EITHER, lambda d: b"".join(pack_gzip(d[i : i + 1]) for i in range(len(d))))
job_is("zstd_many_frames", EITHER, lambda d: b"".join(zstd_frame([(0, d[i : i + 1])]) for i in range(len(d))))
job_is("empty_job", EITHER, lambda d: b"")
job_is("job_of_zero_bytes", REFUSE, lambda d: b"\0" * 4096)
job_is("job_is_random", REFUSE, lambda d: random_module.Random(1).randbytes(100000))
job_is("job_is_json_bomb", REFUSE, lambda d: b'{"a":' * 1000000)
job_is("job_is_one_long_line", REFUSE, lambda d: b"x" * (8 << 20))
job_is("job_many_columns", REFUSE, lambda d: b",".join(b"c%d" % i for i in range(100000)) + b"\n")


def choose(random, wanted):
    """One of RANDOM, by weight; or the one of that name, special ones too."""
    if wanted:
        for name, change in SPECIAL:
            if name == wanted:
                return name, change
        for name, _, change in RANDOM:
            if name == wanted:
                return name, change
        raise SystemExit(f"no change {wanted}")
    name, _, change = random.choices(RANDOM, [weight for _, weight, _ in RANDOM])[0]
    return name, change
