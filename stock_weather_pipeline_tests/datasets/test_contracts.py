"""Contracts are consistent, and everything derived from one agrees with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pyarrow as pa
import pytest

from stock_weather_pipeline.datasets import (
    DATASETS,
    LOCATIONS,
    PARTITIONED,
    STOCK_PRICES,
    STOCK_SPLITS,
    WEATHER,
    Dataset,
)
from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.datasets.rules import missing_required, row_rules
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.iceberg import iceberg_schema
from stock_weather_pipeline.layers.parquet import typing_select
from stock_weather_pipeline.partitions import utc_window

every = pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)


@every
def test_a_contract_describes_every_column_and_has_a_source(dataset: Dataset) -> None:
    assert dataset.description.endswith(".")
    assert dataset.source
    assert len(set(dataset.column_names)) == len(dataset.columns)
    for column in dataset.columns:
        assert column.comment.endswith(".") or ";" in column.comment
        assert column.name == column.name.lower()
        assert column.described.startswith(column.comment)
        assert column.minimum is None or column.maximum is None or column.minimum < column.maximum


@every
def test_schemas_follow_the_contract(dataset: Dataset) -> None:
    assert dataset.arrow_schema.names == dataset.raw_schema.names == list(dataset.column_names)
    assert set(dataset.raw_schema.types) == {pa.string()}
    assert [field.nullable for field in dataset.arrow_schema] == [column.nullable for column in dataset.columns]
    schema = iceberg_schema(dataset)
    assert [field.name for field in schema.fields] == list(dataset.column_names)
    assert [field.required for field in schema.fields] == [not column.nullable for column in dataset.columns]
    assert [field.doc for field in schema.fields] == [column.described for column in dataset.columns]
    assert set(dataset.required) | set(dataset.nullable) == set(dataset.column_names)


@every
def test_everything_derived_is_sql_that_athena_allows(dataset: Dataset) -> None:
    days = [date(2024, 1, 8)] if dataset.partition_set else [None]
    dialect.parse(typing_select(dataset, days))
    dialect.parse(f"SELECT 1 AS x FROM stock_weather.t WHERE {missing_required(dataset)}")
    names = [rule.name for rule in row_rules(dataset)]
    assert len(set(names)) == len(names)
    for rule in row_rules(dataset):
        dialect.parse(f"SELECT {rule.sql} AS kept FROM stock_weather.t")
        assert "'" not in rule.name
    for suspicion in dataset.suspicions:
        dialect.parse(suspicion.sql)


def test_the_columns_are_the_ones_users_type() -> None:
    prices = "ticker trade_date open high low close volume vwap transactions"
    weather = "location observed_at temperature_c apparent_temperature_c relative_humidity_pct precipitation_mm "
    assert STOCK_PRICES.column_names == tuple(prices.split())
    assert STOCK_SPLITS.column_names == ("ticker", "execution_date", "split_from", "split_to")
    assert WEATHER.column_names == (*weather.split(), "wind_speed_kmh", "weather_code")
    assert {dataset.name for dataset in PARTITIONED} == {"stock_prices", "weather"}
    assert LOCATIONS.partition_set is None


def test_bounds_are_days_for_dates_and_utc_hours_for_times() -> None:
    day = date(2024, 3, 10)
    assert STOCK_PRICES.bounds(day, day) == (day, date(2024, 3, 11))
    assert (
        WEATHER.bounds(day, day)
        == utc_window(day, day)
        == (datetime.fromisoformat("2024-03-10T05:00"), datetime.fromisoformat("2024-03-11T04:00"))
    )
    with pytest.raises(ValueError, match="stock_splits has no days"):
        STOCK_SPLITS.bounds(day, day)


def test_a_complete_day_has_one_bar_or_the_hours_of_new_yorks_day() -> None:
    assert STOCK_PRICES.rows_per_entity(date(2024, 3, 10)) == 1
    assert [WEATHER.rows_per_entity(date(2024, month, day)) for month, day in ((3, 10), (11, 3), (7, 4))] == [
        23,
        25,
        24,
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": ("ticker", "day")}, "contract stock_prices: day is not one of its columns"),
        ({"entity": "symbol"}, "symbol is not one of its columns"),
        ({"day_column": "session"}, "session is not one of its columns"),
        ({"partition_set": None}, "partition_set, day_column and day_sql go together"),
        ({"day_sql": None}, "partition_set, day_column and day_sql go together"),
        ({"key": ("ticker", "vwap")}, "a key column cannot be nullable"),
    ],
)
def test_a_contract_that_cannot_work_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(STOCK_PRICES, **change)  # type: ignore[arg-type]


def test_a_type_without_a_typing_rule_is_refused() -> None:
    flag = Column("flag", ColumnType.BOOLEAN, "A flag.")
    with pytest.raises(ValueError, match="flag: no typing rule for BOOLEAN"):
        typing_select(replace(STOCK_SPLITS, columns=(*STOCK_SPLITS.columns, flag)), [None])
