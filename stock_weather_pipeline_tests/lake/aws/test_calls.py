"""How often AWS is called: few queries for a day, and no more calls for more days, beyond one PUT for each raw file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.layers.audit import audit
from stock_weather_pipeline.layers.catalog import problems, register, rows_per_day
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.layers.prod import publish
from stock_weather_pipeline.layers.views import create, read
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.views import VIEWS
from stock_weather_pipeline_tests.homes import home_on_aws
from stock_weather_pipeline_tests.lakes import emulated_lake, land_prices

# How often a running query is asked after depends on how long it takes.
_POLLING = ("athena", "GetQueryExecution")
_RAW_FILE = ("s3", "PutObject")

# Eight create the views, and two times six are of the reference tables, which are refreshed once a day.
FIRST_DAY_QUERIES = 49
NEXT_DAY_QUERIES = 29


def calls_of(days: Sequence[date]) -> Counter[tuple[str, str]]:
    """The calls of every layer of a backfill of stock prices, by service and operation."""
    with emulated_lake() as (lake, aws):
        land_prices(lake, days)
        register(lake, STOCK_PRICES)
        assert problems(lake, STOCK_PRICES, days) == {}
        assert len(rows_per_day(lake, STOCK_PRICES, days)) == len(days)
        unreadable = type_days(lake, STOCK_PRICES, days)
        assert all(finding.passed for finding in audit(lake, STOCK_PRICES, days, unreadable))
        assert len(publish(lake, STOCK_PRICES, days, "run").changed) == len(days)
        create(lake, VIEWS["daily_change"])
        assert len(read(lake, VIEWS["daily_change"], days).per_day) == len(days)
        lake.engine.settle("run", "step")
        found = aws.calls.by_service()
    counted = Counter({(service, name): n for service, calls in found.items() for name, n in calls.items()})
    del counted[_POLLING]
    return counted


@pytest.mark.timeout(900)
def test_a_day_of_both_datasets_asks_few_queries_from_raw_to_the_page(vendor: Sandbox, tmp_path: Path) -> None:
    with emulated_lake() as (_, aws):
        home = home_on_aws(tmp_path, vendor.url)

        def queries_of(day: str) -> int:
            aws.calls.reset()
            result = home.invoke("run", "--start", day, "--end", day)
            assert result.exit_code == 0, result.output
            return aws.calls.count("athena", "StartQueryExecution")

        assert queries_of("2024-06-03") <= FIRST_DAY_QUERIES
        assert queries_of("2024-06-04") <= NEXT_DAY_QUERIES


def grown(few: Counter[tuple[str, str]], many: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {call: many[call] - few[call] for call in {*few, *many} if many[call] != few[call]}


def test_more_days_of_a_month_cost_nothing_but_their_raw_files() -> None:
    days = sessions(date(2024, 1, 2), date(2024, 1, 31))  # the first six have a weekend among them
    assert grown(calls_of(days[:6]), calls_of(days)) == {_RAW_FILE: len(days) - 6}


@pytest.mark.timeout(600)
def test_beyond_a_hundred_days_each_batch_costs_one_unload_and_one_call_to_glue() -> None:
    # The same five months, so that the prod tables have as many files.
    days = sessions(date(2024, 1, 2), date(2024, 5, 31))
    few = [*days[:10], *days[-85:]]
    assert (len(few), len(days)) == (95, 105)
    grew = grown(calls_of(few), calls_of(days))
    assert grew.pop(_RAW_FILE) == 10
    assert grew == {
        ("athena", "StartQueryExecution"): 2,
        ("athena", "GetQueryResults"): 2,
        ("glue", "BatchCreatePartition"): 1,
        ("s3", "ListObjectsV2"): 2,
    }
