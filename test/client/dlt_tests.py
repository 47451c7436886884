#!/usr/bin/env python3
"""Run dlt's own tests of destinations with its PostgresClient and with ours, and compare.

    dlt_tests.py --source DIR --baseline DSN --ours DSN [--keep DIR] [--only REGEX] [TEST ...]

DIR is a checkout of dlt with its tests, of the version that this Python has installed; the two
databases are empty ones that the role may do anything in, the second with the extension loader. Run
by dlt_tests.sh, which sets all that up. A test that passes with dlt's client and does not with ours
fails, unless dlt_tests_differ.txt says why it must. The last line counts the tests that passed with
dlt's client, so what dlt's own client cannot do here does not count.
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
# what drives a client of postgres; test_dbt_helper.py needs repositories of others
TESTS = (
    "tests/load/postgres",
    "tests/load/test_insert_job_client.py",
    "tests/load/test_job_client.py",
    "tests/load/test_jobs.py",
    "tests/load/test_lineage.py",
    "tests/load/test_model_item_format.py",
    "tests/load/test_read_interfaces.py",
    "tests/load/test_sql_client.py",
    "tests/load/pipeline",
)
EXCLUDED = ("tests/load/pipeline/test_dbt_helper.py",)


def environment(source, dsn, ours):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DESTINATION", "PYTEST_CURRENT"))}
    env.update(
        RUNTIME__DLTHUB_TELEMETRY="false",
        DESTINATION__POSTGRES__CREDENTIALS=dsn,
        ACTIVE_DESTINATIONS='["postgres"]',
        ALL_FILESYSTEM_DRIVERS='["memory", "file"]',
        PYTHONPATH=os.pathsep.join([source, HERE, os.environ.get("PYTHONPATH", "")]),
        PYTHONDONTWRITEBYTECODE="1",
    )
    env.pop("DLT_TESTS_DSN", None)
    if ours:
        env["DLT_TESTS_DSN"] = dsn
    return env


def run(args, dsn, name):
    """Run the tests; returns where their results are."""
    results = os.path.join(args.keep, name + ".xml")
    # dlt names a pipeline after the program, and tests know of pytest
    command = [os.path.join(os.path.dirname(sys.executable), "pytest"), "-q", "--tb=short"]
    command += ["-p", "no:cacheprovider", "-p", "dlt_tests_plugin", "-o", "log_cli=false"]
    command += ["--timeout", "120", "--junitxml", results, "--continue-on-collection-errors"]
    command += [f"--ignore={path}" for path in EXCLUDED] + (args.tests or list(TESTS))
    if args.only:
        command += ["-k", args.only]
    with open(os.path.join(args.keep, name + ".log"), "w", encoding="utf-8") as log:
        subprocess.run(
            command,
            cwd=args.source,
            env=environment(args.source, dsn, name == "ours"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return results


def outcomes(results):
    """Each test's outcome, and the last line of what went wrong."""
    found = {}
    for case in xml.parse(results).getroot().iter("testcase"):
        name = f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
        outcome, why = "passed", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, why = "failed", (child.get("message") or child.text or "").strip()
            elif child.tag == "skipped" and outcome == "passed":
                outcome, why = "skipped", child.get("message") or ""
        found[name] = (outcome, why.splitlines()[0] if why else "")
    return found


def reasons():
    """Regular expressions of tests that cannot pass, each with the reason."""
    with open(os.path.join(HERE, "dlt_tests_differ.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]
    return [(re.compile(pattern), reason) for pattern, reason in (s.split("\t") for s in lines)]


def compare(baseline, ours):
    """Print what differs; returns the counts."""
    counts, differ, used = collections.Counter(), reasons(), set()
    for name, (outcome, why) in sorted(baseline.items()):
        if outcome != "passed":
            counts["not passed by dlt's client"] += 1
            print(f"not compared: {name}: {outcome} with dlt's client: {why[:150]}")
            continue
        got, why = ours.get(name, ("failed", "not run"))
        if got == "passed":
            counts["passed"] += 1
            continue
        reason = next(((p, r) for p, r in differ if p.search(name)), None)
        if reason:
            used.add(reason[0])
            counts["skipped"] += 1
            print(f"differs: {name}: {reason[1]}")
        else:
            counts["failed"] += 1
            print(f"FAIL {name}: {got}: {why[:300]}")
    for pattern, reason in differ:
        if pattern not in used and any(pattern.search(name) for name in baseline):
            counts["failed"] += 1
            print(f"FAIL {pattern.pattern} stands in dlt_tests_differ.txt, and passes")
    return counts


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True)
    parser.add_argument("--baseline", required=True, metavar="DSN")
    parser.add_argument("--ours", required=True, metavar="DSN")
    parser.add_argument("--keep", default=".", metavar="DIR", help="where logs and results go")
    parser.add_argument("--only", metavar="EXPRESSION", help="for pytest -k")
    parser.add_argument("--reuse", action="store_true", help="an earlier baseline that was kept")
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    args.keep = os.path.abspath(args.keep)

    kept = os.path.join(args.keep, "baseline.xml")
    baseline = kept if args.reuse and os.path.exists(kept) else run(args, args.baseline, "baseline")
    ours = run(args, args.ours, "ours")
    before, after = outcomes(baseline), outcomes(ours)
    if args.only or args.tests:
        before = {name: outcome for name, outcome in before.items() if name in after}
    counts = compare(before, after)
    with open(os.path.join(args.keep, "ours.log"), encoding="utf-8") as log:
        lines = [s.rstrip() for s in log]
    told = [s for s in lines if s.startswith(("loaded by our client", "without a row", "FAIL no row"))]
    print("\n".join(told))
    if not told or any(s.startswith("FAIL no row") for s in told):
        counts["failed"] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
