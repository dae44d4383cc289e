"""Keys, days and predicates belong together."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, STOCK_SPLITS, WEATHER, Dataset
from stock_weather_pipeline.lake.layout import Layer, day_of_key, day_path, day_ranges, days_predicate, external_table


@given(st.dates(min_value=date(1990, 1, 1)))
def test_the_day_of_a_key_is_the_day_it_was_made_for(day: date) -> None:
    for layer in Layer:
        assert day_of_key(external_table(WEATHER, layer).key(day)) == day
    assert day_path(day) == f"year={day:%Y}/month={day:%m}/day={day:%d}/"


@pytest.mark.parametrize(
    "key", ["raw/x/year=2024/x.csv", "raw/x/year=2024/month=02/day=30/x.csv", "year=a/month=1/day=1"]
)
def test_a_path_that_names_no_day_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is not below year=YYYY/month=MM/day=DD/"):
        day_of_key(key)


def test_a_dataset_without_partitions_is_one_object() -> None:
    table = external_table(STOCK_SPLITS, Layer.RAW)
    assert table.key(None) == "raw/stock_splits/stock_splits.csv"
    assert day_of_key(table.key(None)) is None
    assert days_predicate(STOCK_SPLITS, [None]) == "TRUE"


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_every_layer_has_the_contracts_columns_in_order(dataset: Dataset) -> None:
    for layer in Layer:
        names = [column.name for column in external_table(dataset, layer).columns]
        assert names == [*dataset.column_names, *(["reason"] if layer is Layer.QUARANTINE else [])]


def test_days_without_a_gap_are_one_range_across_a_weekend() -> None:
    friday, monday, wednesday = date(2024, 1, 5), date(2024, 1, 8), date(2024, 1, 10)
    assert day_ranges(STOCK_PRICES, [wednesday, monday, friday]) == [(friday, monday), (wednesday, wednesday)]
    assert day_ranges(WEATHER, [monday, friday]) == [(friday, friday), (monday, monday)]
    with pytest.raises(ValueError, match="no days given"):
        day_ranges(WEATHER, [])
