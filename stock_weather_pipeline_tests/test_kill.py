"""A process killed in any layer, and run again, ends as one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.killed import killed_run

WORDS = ("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-05")
DAYS = {"2024-06-03", "2024-06-04", "2024-06-05"}
FILES = ("raw", "parquet", "quarantine", "coverage", "superseded", "catalog/stock_weather_raw")
PACKAGE = "stock_weather_pipeline"

POINTS = {
    "raw, between two days": (f"{PACKAGE}.layers.raw:_store", "after", 3),
    "raw, a file written and not yet in its place": ("pathlib:Path.replace", "before", 12),
    "raw, landed and Dagster not told": (f"{PACKAGE}.layers.coverage:add", "after", 1),
    "catalog": (f"{PACKAGE}.assets.catalog:register", "after", 1),
    "parquet, typed rows written and the quarantine not": (
        f"{PACKAGE}.lake.duckdb_engine:DuckDbEngine._write_days",
        "after",
        3,
    ),
    "audit, after its verdict": (f"{PACKAGE}.assets.parquet:audit", "after", 1),
    "prod, data files written and not committed": ("pyiceberg.catalog.sql:SqlCatalog.commit_table", "before", 4),
    "prod, committed and Dagster not told": (f"{PACKAGE}.assets.prod:publish", "after", 2),
    "views": (f"{PACKAGE}.assets.views:create", "before", 1),
}


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory, vendor: Sandbox) -> Home:
    home = Home(tmp_path_factory.mktemp("unharmed"), vendor.url)
    assert home.invoke(*WORDS).exit_code == 0
    return home


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_that_is_run_again_ends_with_the_same_tables(
    tmp_path: Path, vendor: Sandbox, unharmed: Home, point: str
) -> None:
    home = Home(tmp_path, vendor.url)
    killed_run(home, WORDS, POINTS[point])

    result = home.invoke(*WORDS)

    assert result.exit_code == 0, result.output
    assert home.tables() == unharmed.tables()
    whole = {name: digest for name, digest in home.files(*FILES).items() if not name.endswith(".partial")}
    assert whole == unharmed.files(*FILES)
    assert home.materialized("prod", "weather") == DAYS
