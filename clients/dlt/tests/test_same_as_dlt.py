"""The same packages, loaded by dlt's own postgres destination and by us: same tables, same rows."""

import shutil

import psycopg
import pytest

import dlt
from conftest import oracle
from dlt_loader import loader_postgres


def nested():
    @dlt.resource(name="orders")
    def orders(rows):
        yield rows

    first = [
        {"id": i, "who": {"name": f"n{i}", "tags": ["a", "b"]}, "lines": [{"sku": "x", "n": i}] * 3}
        for i in range(50)
    ]
    # a new column, another type in an old one, a nested table that goes deeper
    second = [
        {"id": str(i), "more": 1.5, "lines": [{"sku": "y", "parts": [{"p": 1}, {"p": None}]}]}
        for i in range(20)
    ]
    yield orders(first)
    yield orders(second)


def merge(strategy, **hints):
    def steps():
        for n in (0, 1):

            @dlt.resource(
                name="users",
                primary_key="id",
                write_disposition={"disposition": "merge", "strategy": strategy},
                **hints,
            )
            def users():
                yield [
                    {"id": i, "name": f"{n} {i}", "gone": i % 5 == n or None, "tags": [{"t": n}]}
                    for i in range(n * 10, 30 + n * 10)
                ]

            yield users()

    return steps


def scd2():
    for n in (0, 1):

        @dlt.resource(
            name="prices",
            write_disposition={"disposition": "merge", "strategy": "scd2"},
        )
        def prices():
            yield [{"sku": i, "price": i + n * (i % 3 == 0)} for i in range(20 + n)]

        yield prices()


def replace(strategy):
    def steps():
        for n in (0, 1):

            @dlt.resource(name="things", write_disposition="replace")
            def things():
                yield [{"id": i, "n": n, "parts": [{"p": i}]} for i in range(30 + n)]

            yield things()

    steps.config = {"replace_strategy": strategy}
    return steps


def arrow():
    import pyarrow

    for n in (0, 1):

        @dlt.resource(name="readings", primary_key="id", write_disposition="merge")
        def readings():
            yield pyarrow.table(
                {"id": list(range(n, 100)), "value": [i * 1.25 + n for i in range(n, 100)]}
            )

        yield readings()


def refresh(mode):
    def steps():
        for n in (0, 1):

            @dlt.source(name="s")
            def source():
                @dlt.resource(name="a")
                def a():
                    yield [{"id": i, **({"new": n} if n else {"old": n})} for i in range(10)]

                @dlt.resource(name="b")
                def b():
                    yield [{"id": 1, "kids": [{"k": 1}]}]

                return a, b

            yield source() if n == 0 else source().with_resources("a")

    steps.extract = [{}, {"refresh": mode}]
    return steps


SCENARIOS = {
    "nested": nested,
    "delete-insert": merge("delete-insert", columns={"gone": {"hard_delete": True}}),
    "upsert": merge("upsert"),
    "scd2": scd2,
    "truncate-and-insert": replace("truncate-and-insert"),
    "insert-from-staging": replace("insert-from-staging"),
    "staging-optimized": replace("staging-optimized"),
    "arrow": arrow,
    "drop_sources": refresh("drop_sources"),
    "drop_resources": refresh("drop_resources"),
    "drop_data": refresh("drop_data"),
}


@pytest.mark.parametrize("file_format", ["insert_values", "csv"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_same(scenario, file_format, mode, ours, plain, tmp_path):
    if scenario == "arrow" and file_format != "csv":
        pytest.skip("dlt writes arrow tables as csv")
    steps = SCENARIOS[scenario]
    config = getattr(steps, "config", {})

    def pipeline(directory, destination):
        return dlt.pipeline(
            "same",
            pipelines_dir=str(tmp_path / directory),
            destination=destination,
            dataset_name="d_same",
        )

    theirs = dlt.destinations.postgres(credentials=plain, **config)
    extract = getattr(steps, "extract", [{}, {}])
    for step, data in enumerate(steps()):
        first = pipeline("plain", theirs)
        first.extract(data, loader_file_format=file_format, **extract[step])
        first.normalize()
        shutil.rmtree(tmp_path / "ours", ignore_errors=True)
        shutil.copytree(tmp_path / "plain", tmp_path / "ours")
        first.load()
        info = pipeline("ours", loader_postgres(credentials=ours, mode=mode, **config)).load()
        assert not info.has_failed_jobs
        with psycopg.connect(plain) as expected, psycopg.connect(ours) as actual:
            differences = oracle.diff(
                oracle.state_of(expected, "d_same"), oracle.state_of(actual, "d_same")
            )
        assert differences == []
        with psycopg.connect(ours) as connection:
            states = connection.execute(
                "SELECT DISTINCT mode, state, destination_name FROM loader.packages"
                " WHERE dataset = 'd_same'"
            ).fetchall()
        assert states == [(mode, "loaded", "loader")]
