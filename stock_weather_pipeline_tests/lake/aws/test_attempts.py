"""Days of Parquet tables on AWS: replaced as a whole, whatever fails on the way, and nothing needed is ever deleted."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from infra.emulation import EmulatedAws, Fault
from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS, WEATHER
from stock_weather_pipeline.errors import TransientLakeError, TransientQueryError
from stock_weather_pipeline.lake.interfaces import Lake, Output
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline.partitions import sessions
from stock_weather_pipeline_tests.lakes import land_prices, put_csv

DAYS = sessions(date(2024, 1, 2), date(2024, 1, 12))
TABLE = external_table(STOCK_PRICES, Layer.PARQUET)
NOW = timedelta(0)
CLOSES = "SELECT trade_date, close FROM stock_weather_parquet.stock_prices"


def closes(lake: Lake) -> dict[date, float]:
    rows = lake.rows(CLOSES)
    found = {row["trade_date"]: row["close"] for row in rows}
    assert len(found) == len(rows)
    return found


def attempts(lake: Lake) -> set[str]:
    return {item.key.split("/")[2] for item in lake.objects.list(TABLE.prefix)}


@pytest.fixture
def typed(lake: Lake) -> Lake:
    """A lake whose days have once been typed, and whose raw files have changed since."""
    land_prices(lake, DAYS)
    type_days(lake, STOCK_PRICES, DAYS)
    land_prices(lake, DAYS, close="10")
    return lake


def test_an_unload_that_fails_halfway_leaves_the_old_rows_of_every_day(typed: Lake, aws: EmulatedAws) -> None:
    aws.calls.reset()
    before = aws.calls.count("glue", "BatchUpdatePartition")
    # The first query counts the raw rows; every try of the UNLOAD fails after it.
    lake_rows = closes(typed)
    aws.faults.slow_query(0)
    aws.faults.fail_query_halfway(times=20)
    with pytest.raises(TransientQueryError, match="A worker was lost"):
        type_days(typed, STOCK_PRICES, DAYS)
    aws.faults.clear()
    assert closes(typed) == lake_rows == dict.fromkeys(DAYS, 11.0)
    assert aws.calls.count("glue", "BatchUpdatePartition") == before
    assert len(attempts(typed)) > 1
    type_days(typed, STOCK_PRICES, DAYS)
    assert closes(typed) == dict.fromkeys(DAYS, 10.0)


def test_an_unload_that_fails_once_is_repeated_at_another_place(typed: Lake, aws: EmulatedAws) -> None:
    aws.faults.slow_query(0)
    aws.faults.fail_query_halfway(times=2)
    type_days(typed, STOCK_PRICES, DAYS)
    assert closes(typed) == dict.fromkeys(DAYS, 10.0)
    assert len(attempts(typed)) == 3


def test_partitions_that_cannot_be_pointed_are_told_and_a_repetition_heals_it(typed: Lake, aws: EmulatedAws) -> None:
    aws.faults.inject("glue", "BatchUpdatePartition", Fault.SERVER_ERROR, times=50)
    with pytest.raises(TransientLakeError, match=r"^Cannot point partitions of stock_weather_parquet\.stock_prices"):
        type_days(typed, STOCK_PRICES, DAYS)
    aws.faults.clear()
    assert closes(typed) == dict.fromkeys(DAYS, 11.0)
    type_days(typed, STOCK_PRICES, DAYS)
    assert closes(typed) == dict.fromkeys(DAYS, 10.0)


def test_more_than_a_hundred_days_are_several_unloads_and_each_day_is_there_once(lake: Lake, aws: EmulatedAws) -> None:
    days = sessions(date(2023, 1, 3), date(2023, 8, 31))
    assert len(days) > 100
    land_prices(lake, days)
    type_days(lake, STOCK_PRICES, days)
    assert closes(lake) == dict.fromkeys(days, 11.0)
    assert set(lake.engine.stored(TABLE, days)) == set(days)
    assert len({stored.version for stored in lake.engine.stored(TABLE, days).values()}) == 2
    assert aws.calls.count("glue", "BatchCreatePartition") == 2


def test_a_day_without_rows_loses_its_partition(typed: Lake) -> None:
    put_csv(typed, STOCK_PRICES, DAYS[0], [])
    type_days(typed, STOCK_PRICES, DAYS[1:])
    typed.engine.unload(
        f"SELECT ticker, trade_date, open, high, low, close, volume, vwap, transactions, trade_date AS partition_day "
        f"FROM {TABLE.qualified_name} WHERE FALSE",
        [Output(TABLE, ", ".join(STOCK_PRICES.column_names), "TRUE")],
        [DAYS[0]],
    )
    assert set(closes(typed)) == set(DAYS[1:])
    assert DAYS[0] not in typed.engine.stored(TABLE, DAYS)


def test_a_table_without_days_is_pointed_at_its_newest_rows(lake: Lake) -> None:
    splits = external_table(STOCK_SPLITS, Layer.PARQUET)
    split = {"ticker": "NVDA", "execution_date": "2024-06-10", "split_from": "1", "split_to": "10"}
    for count in (1, 0, 1):
        put_csv(lake, STOCK_SPLITS, None, [split][:count])
        type_days(lake, STOCK_SPLITS, [None])
        assert len(lake.rows(f"SELECT * FROM {splits.qualified_name}")) == count
        assert len(lake.engine.stored(splits, [None])) == count


def test_only_files_that_no_day_needs_are_deleted_and_none_that_is_young(typed: Lake) -> None:
    type_days(typed, STOCK_PRICES, DAYS[:3])
    typed.objects.write(f"{TABLE.prefix}attempt=0abc/year=2024/month=01/day=02/left.parquet", b"of a killed run")
    assert typed.engine.delete_unneeded(TABLE, timedelta(hours=1)) == []
    deleted = typed.engine.delete_unneeded(TABLE, NOW)
    assert len(deleted) == 4
    assert typed.engine.delete_unneeded(TABLE, NOW) == []
    assert closes(typed) == dict.fromkeys(DAYS[:3], 10.0) | dict.fromkeys(DAYS[3:], 11.0)


@pytest.mark.parametrize("key", ["attempt=0abc/year=2024/left.parquet", "notes.txt"])
def test_a_file_that_no_attempt_has_written_is_left_alone(typed: Lake, key: str) -> None:
    typed.objects.write(TABLE.prefix + key, b"by hand")
    typed.engine.delete_unneeded(TABLE, NOW)
    assert typed.objects.exists(TABLE.prefix + key)


def test_another_table_is_not_touched(typed: Lake) -> None:
    assert typed.engine.delete_unneeded(external_table(WEATHER, Layer.PARQUET), NOW) == []
