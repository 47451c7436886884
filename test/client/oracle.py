#!/usr/bin/env python3
"""Drive the packages of the oracle through a dlt pipeline's load step, and compare what they leave.

    oracle.py --dsn postgresql://loader:loader@localhost/db [--mode package|job|dlt] [--staging] ...

The staging dataset is compared, too, but for what staging_differs.txt says of job mode, and that of
test/oracle of package mode. Scenarios that need an extension which the server has not are skipped.

Each package is put where normalize would have left it, and pipeline.load() loads it: through the
client dlt_loader in one of its modes, or, with --mode dlt, through dlt's own postgres, which shows
that this script drives the packages right. The other options are those of test/oracle/check.py.
"""
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile

# how a staging dataset may differ by design: what is missing there, and numbers of rows
BY_DESIGN = re.compile(r"staging: ((dataset|table .*) is missing|[^:]*: \d+ rows, expected \d+)")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")

import check
import dlt
import extensions
import psycopg2
from dlt.common.schema import Schema
from dlt.common.storages import LoadStorage

@contextlib.contextmanager
def environment(values):
    """Set these variables, and put back what they were."""
    old = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def destination_of(mode, dsn):
    if mode == "dlt":
        return dlt.destinations.postgres(dsn)
    from dlt_loader import loader_postgres

    return loader_postgres(credentials=dsn, mode=mode)


def make_pipeline(destination, scenario, folder):
    """A pipeline whose default schema is the scenario's; each schema has a dataset of its own, but
    the default one."""
    pipeline = dlt.pipeline(
        scenario["name"],
        destination=destination,
        dataset_name=scenario["dataset"],
        pipelines_dir=folder,
    )
    datasets = {step["dataset"] for step in scenario["steps"]}
    pipeline.config.use_single_dataset = datasets == {scenario["dataset"]}
    with pipeline.managed_state():
        pipeline.schemas.save_schema(Schema(scenario["schema"]))
        pipeline.default_schema_name = scenario["schema"]
    return pipeline


def put_package(pipeline, package, load_id):
    """Where normalize leaves a package, with all that it leaves; and the schema where it keeps it."""
    packages = LoadStorage(True, [], pipeline._load_storage_config()).normalized_packages
    packages.create_package(load_id)
    target = os.path.join(packages.storage.storage_path, load_id)
    shutil.copytree(package, target, dirs_exist_ok=True)
    with open(os.path.join(target, "schema.json"), encoding="utf-8") as file:
        pipeline.schemas.save_schema(Schema.from_dict(json.load(file), bump_version=False))


def loader(mode, dsn):
    """The function that check.py brings each package into the database with."""

    def load(conn, scenario, step, package):
        with tempfile.TemporaryDirectory() as folder, environment(options_of(step)):
            pipeline = make_pipeline(destination_of(mode, dsn), scenario, folder)
            put_package(pipeline, package, step["load_id"])
            info = pipeline.load()
            if [p.load_id for p in info.load_packages] != [step["load_id"]]:
                raise RuntimeError(f"pipeline.load() did not load {step['load_id']}: {info}")
            if pipeline.has_pending_data:
                raise RuntimeError("the package is still pending")

    return load


def options_of(step):
    strategy = step["options"].get("replace_strategy")
    return {"DESTINATION__REPLACE_STRATEGY": strategy} if strategy else {}


def staging_differs(mode):
    """Where it is written which staging datasets differ by design."""
    folder = {"package": os.path.dirname(check.__file__), "job": HERE}.get(mode)
    return folder and os.path.join(folder, "staging_differs.txt")


def differing_in(path, chosen):
    """The chosen scenarios in a list of name, tab, reason, and comments; none of them seen yet."""
    if not path:
        return {}
    with open(path, encoding="utf-8") as f:
        names = [line.split("\t")[0] for line in f if line.strip() and not line.startswith("#")]
    return {name: False for name in names if name in chosen}


def as_designed(check_step, differing):
    """check_step, but for differences of these scenarios' staging datasets that are by design; it is
    noted which of them have some."""

    def run(args, load, folder, scenario, step):
        problems = check_step(args, load, folder, scenario, step)
        if scenario["name"] not in differing:
            return problems
        rest = [problem for problem in problems if not BY_DESIGN.fullmatch(problem)]
        differing[scenario["name"]] |= len(rest) < len(problems)
        return rest

    return run


class Tee:
    """Standard output, whose last line is remembered."""

    def __init__(self):
        self.out, self.last = sys.stdout, ""

    def write(self, text):
        self.last = text.strip() or self.last
        return self.out.write(text)

    def flush(self):
        self.out.flush()


def choose(args):
    """Leave the scenarios that can be loaded here; prints which cannot, and returns how many."""
    chosen, skipped = [], 0
    with psycopg2.connect(args.dsn) as conn, conn.cursor() as cursor:
        for _, scenario in check.scenarios_in(args.scenarios, args.only):
            why = why_not(args.mode, scenario, cursor)
            if why:
                print(f"skip {scenario['name']}: {why}")
                skipped += 1
            else:
                chosen.append(scenario["name"])
    args.only = chosen
    return skipped


def why_not(mode, scenario, cursor):
    if mode == "dlt" and any(".jsonl" in job for step in scenario["steps"] for job in step["jobs"]):
        return "dlt's own postgres does not take jsonl"
    extension = extensions.missing(cursor, scenario["name"])
    if extension:
        return f"this server has no extension {extension}"
    return None


def main():
    parser = check.arguments()
    parser.add_argument("--mode", choices=("package", "job", "dlt"), default="package")
    args = parser.parse_args()
    if not args.dsn:
        parser.error("--dsn or ORACLE_DSN is needed")
    if args.scenarios == parser.get_default("scenarios"):
        args.scenarios = os.path.join(os.path.dirname(check.__file__), "scenarios")
    args.staging = True
    skipped = choose(args)
    differing = differing_in(staging_differs(args.mode), args.only)
    check.check_step = as_designed(check.check_step, differing)
    tee = Tee()
    with contextlib.redirect_stdout(tee):
        check.check_scenarios(args, loader(args.mode, args.dsn))
    passed, failed = map(int, re.findall(r"\d+", tee.last))
    for name, differs in differing.items():
        if not differs:
            failed += 1
            print(f"FAIL {name}: its staging dataset is dlt's, but it stands in a staging_differs.txt")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
