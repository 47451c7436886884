# Builds dlt load packages (extract + normalize only) so that the load step can be timed alone.
#   usage: make_packages.py DATA OUTDIR [NAME...]     (no names: all of them)
# DATA is the folder make_data.sh filled.  Each package becomes OUTDIR/NAME: a dlt pipelines_dir
# holding one pipeline with one normalized package.  A run copies it, so it can be
# loaded many times (see dlt_load.py).  Environment: N (rows of lineitem, default 2000000).
import glob, json, os, shutil, sys, time
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")
import dlt, pyarrow as pa, pyarrow.parquet as pq

data, out = sys.argv[1], sys.argv[2]
N = int(os.environ.get("N", 2_000_000))
SPLIT = 250_000          # rows of a file in the *_split packages


def lineitem(n, first=0):
    for b in pq.ParquetFile(f"{data}/li_{n}.parquet").iter_batches(50_000):
        yield pa.Table.from_batches([b])


def keyed(first, last):   # rows with a key and a version column, made of lineitem's columns
    at = 0
    for b in pq.ParquetFile(f"{data}/li_{N}.parquet").iter_batches(50_000):
        if at >= last - first:
            return
        b = b.slice(0, min(len(b), last - first - at))
        t = pa.Table.from_batches([b])
        ids = pa.array(range(first + at, first + at + len(b)), pa.int64())
        at += len(b)
        ver = pa.array([f"{first}-{i}" for i in ids.to_pylist()])
        yield t.append_column("id", ids).append_column("row_ver", ver)


def events():
    with open(f"{data}/events.jsonl") as f:
        batch = []
        for line in f:
            batch.append(json.loads(line))
            if len(batch) == 5000:
                yield batch
                batch = []
        yield batch


def small(k):
    def gen():
        yield [{"id": i, "name": f"row {i}", "v": i * 0.5, "at": "2024-01-02T03:04:05Z"} for i in range(100)]
    return dlt.resource(gen, name=f"t{k:03d}")


def res(gen, **kw):
    return dlt.resource(gen, name=kw.pop("name", "li"), **kw)


MERGE = {"delete_insert": dict(write_disposition={"disposition": "merge", "strategy": "delete-insert"}, primary_key="id"),
         "upsert": dict(write_disposition={"disposition": "merge", "strategy": "upsert"}, primary_key="id"),
         "scd2": dict(write_disposition={"disposition": "merge", "strategy": "scd2", "row_version_column_name": "row_ver"},
                      merge_key="id")}
# name: (resources, loader_file_format, rows a file or None for no split); the format of a name that
# ends in _plain is written without gzip
PACKAGES = {}
for fmt in ("insert_values", "csv", "parquet"):
    PACKAGES[f"append_{fmt}"] = (lambda: [res(lineitem(N), write_disposition="append")], fmt, None)
    PACKAGES[f"append_{fmt}_split"] = (lambda: [res(lineitem(N), write_disposition="append")], fmt, SPLIT)
    PACKAGES[f"append_{fmt}_200000"] = (lambda: [res(lineitem(200_000), write_disposition="append")], fmt, None)
    PACKAGES[f"append_{fmt}_x3"] = (None, fmt, SPLIT)      # append_FMT_split with each file three times
    PACKAGES[f"replace_{fmt}_split"] = (lambda: [res(lineitem(N), write_disposition="replace")], fmt, SPLIT)
    PACKAGES[f"events_{fmt}"] = (lambda: [res(events(), name="events", write_disposition="append")], fmt, None)
    PACKAGES[f"small_{fmt}"] = (lambda: [small(k) for k in range(300)], fmt, None)
    for m, kw in MERGE.items():
        base, delta = (lambda kw=kw: [res(keyed(0, 1_000_000), **kw)]), (lambda kw=kw: [res(keyed(950_000, 1_050_000), **kw)])
        PACKAGES[f"merge_{m}_{fmt}"] = (base, fmt, None)
        PACKAGES[f"merge_{m}_{fmt}_delta"] = (delta, fmt, None)   # 100k rows: 50k updates, 50k new
PACKAGES["events_jsonl"] = (lambda: [res(events(), name="events", write_disposition="append")], "jsonl", None)
for fmt in ("csv_plain", "jsonl", "jsonl_plain"):
    PACKAGES[f"append_{fmt}"] = (lambda: [res(lineitem(N), write_disposition="append")], fmt.removesuffix("_plain"), None)
PACKAGES["replace_csv_plain"] = (lambda: [res(lineitem(N), write_disposition="replace")], "csv", None)


def allow_jsonl():
    """dlt's postgres destination does not list jsonl, which its own loader cannot load there."""
    raw = dlt.destinations.postgres._raw_capabilities

    def with_jsonl(self):
        caps = raw(self)
        caps.supported_loader_file_formats = [*caps.supported_loader_file_formats, "jsonl"]
        return caps
    dlt.destinations.postgres._raw_capabilities = with_jsonl


def pipeline_name(name):
    return next((f"merge_{m}" for m in MERGE if name.startswith(f"merge_{m}")), name)


def triple(name):
    src = name.replace("_x3", "_split")
    shutil.copytree(f"{out}/{src}", f"{out}/{name}")
    for f in glob.glob(f"{out}/{name}/*/load/normalized/*/new_jobs/li.*"):
        table, file_id, rest = os.path.basename(f).split(".", 2)
        for k in "xy":   # no hex digit, so a new id
            shutil.copy(f, os.path.join(os.path.dirname(f), f"{table}.{k}{file_id[1:]}.{rest}"))


def build(name):
    make, fmt, split = PACKAGES[name]
    shutil.rmtree(f"{out}/{name}", ignore_errors=True)
    if make is None:
        return triple(name)
    os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = str(name.endswith("_plain"))
    for k in ("NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS", "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS"):
        os.environ.pop(k, None)
        if split:
            os.environ[k] = str(split)
    # a delta shares its base's pipeline name and schema, as the second run of one pipeline would
    p = dlt.pipeline(pipeline_name(name), pipelines_dir=f"{out}/{name}", dataset_name="dlt_bench",
                     destination=dlt.destinations.postgres("postgresql://unused"))
    t = time.time()
    p.extract(make(), loader_file_format=fmt)
    p.normalize()
    jobs = [j for l in p.list_normalized_load_packages() for j in p.get_load_package_info(l).jobs["new_jobs"]]
    print(f"{name}: {len(jobs)} files, {sum(os.path.getsize(j.file_path) for j in jobs) / 1e6:.1f} MB, "
          f"extract+normalize {time.time() - t:.1f} s", flush=True)


allow_jsonl()
for name in sys.argv[3:] or PACKAGES:
    build(name)
