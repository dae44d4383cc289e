"""What a run leaves in Dagster: metadata per day, column lineage, links, and a truthful status of every partition."""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg
import pytest

from stock_weather_pipeline.assets.lineage import of_view
from stock_weather_pipeline.assets.reporting import combined_version, named
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

WEEK = ["2024-06-03", "2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07"]


def metadata(instance: dg.DagsterInstance, layer: str, name: str, day: str) -> dict[str, Any]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey([layer, name]), asset_partitions=[day]), limit=1
    ).records
    materialization = records[0].asset_materialization
    assert materialization is not None
    return {label: value.value for label, value in materialization.metadata.items()}


def test_raw_says_rows_bytes_digest_and_file_of_each_day(finished: Home) -> None:
    with finished.opened() as (_, lake, instance):
        for day in WEEK:
            found = metadata(instance, "raw", "stock_prices", day)
            key = f"raw/stock_prices/year=2024/month=06/day={day[-2:]}/stock_prices.csv"
            assert found["dagster/partition_row_count"] == 1
            assert found["bytes"] == len(lake.objects.read(key))
            assert found["file"] == lake.objects.uri(key)
            assert len(found["sha256"]) == 64
        assert metadata(instance, "raw", "stock_prices", WEEK[-1])["vendor_calls"] == 1


def test_prod_says_rows_and_snapshot(finished: Home) -> None:
    with finished.opened() as (_, lake, instance):
        current = lake.tables.current("weather")
        assert current is not None
        found = metadata(instance, "prod", "weather", "2024-06-05")
    assert found["dagster/partition_row_count"] == 48
    assert found["snapshot_id"] == str(current.snapshot_id)


def test_the_newest_day_carries_what_is_said_about_the_run(finished: Home) -> None:
    with finished.opened() as (_, _lake, instance):
        newest = metadata(instance, "views", "macd", WEEK[-1])
        older = metadata(instance, "views", "macd", WEEK[0])
    assert "| NVDA | 2024-06-07 |" in newest["preview"]
    assert newest["chart"].startswith("![NVDA: 2024-06-03 to 2024-06-07: close ")
    assert newest["close"] > 0
    assert "macd" not in newest, "the window is not full"
    assert newest["dagster/column_lineage"] == of_view("macd")
    types = {column.name: column.type for column in newest["dagster/column_schema"].columns}
    doubles = dict.fromkeys(["close", "macd", "signal", "histogram"], "double")
    assert types == {"ticker": "varchar", "trade_date": "date", **doubles}
    assert set(older) == {"dagster/partition_row_count"}


def test_view_columns_are_traced_to_their_sources() -> None:
    lineage = of_view("stock_prices_adjusted").deps_by_column
    sources = {(dep.asset_key.to_user_string(), dep.column_name) for dep in lineage["close"]}
    assert {("prod/stock_prices", "close"), ("prod/stock_splits", "split_to")} <= sources
    assert [dep.column_name for dep in lineage["transactions"]] == ["transactions"]


def test_a_bad_day_is_missing_in_prod_and_the_others_are_there(
    tmp_path_factory: pytest.TempPathFactory, faulty: Sandbox
) -> None:
    faulty.faults.add("/v2/aggs", "garbage_rows", days=["2024-06-05"])
    home = Home(tmp_path_factory.mktemp("garbage"), faulty.url)
    result = home.invoke("run", "--only", "stocks", "--start", WEEK[0], "--end", WEEK[-1])
    assert result.exit_code == 1
    assert "2024-06-05" in result.output
    good = {day for day in WEEK if day != "2024-06-05"}
    assert home.materialized("prod", "stock_prices") == good
    assert home.materialized("parquet", "stock_prices") == set(WEEK)
    days = {str(row["trade_date"]) for row in home.rows("SELECT trade_date FROM stock_prices")}
    assert days == good
    quarantined = home.rows("SELECT reason FROM stock_weather_quarantine.stock_prices")
    assert quarantined
    assert all(row["reason"] for row in quarantined)


def test_one_day_keeps_its_own_data_version_and_a_range_has_a_digest() -> None:
    monday, tuesday = date(2024, 6, 3), date(2024, 6, 4)
    assert combined_version({monday: "a"}) == "a"
    both = combined_version({tuesday: "b", monday: "a"})
    assert both == combined_version({monday: "a", tuesday: "b"})
    assert both != combined_version({monday: "a", tuesday: "c"})


def test_very_many_bad_days_are_counted_not_listed() -> None:
    text = named({date.fromordinal(738000 + n): "bad" for n in range(25)})
    assert text.count("bad") == 20
    assert text.endswith("and 5 more days")
