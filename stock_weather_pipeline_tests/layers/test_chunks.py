"""Parts of many days: whole months, and no larger than asked for where a month is not larger by itself."""

from __future__ import annotations

from datetime import date

import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.layers import chunks
from stock_weather_pipeline_tests.lakes import land_prices

RAW = external_table(STOCK_PRICES, Layer.RAW)
DAYS = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 3, 1), date(2024, 3, 4)]


@pytest.mark.parametrize(("files", "parts"), [(1, [2, 1, 2]), (3, [3, 2]), (4, [3, 2]), (5, [5])])
def test_parts_hold_whole_months_up_to_a_size(
    lake: Lake, files: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    land_prices(lake, DAYS)
    size = max(item.size_bytes for item in lake.objects.list(RAW.prefix))
    monkeypatch.setattr(chunks, "MOST_BYTES", files * size)
    found = list(chunks.by_size(lake, STOCK_PRICES, DAYS))
    assert [len(part) for part in found] == parts
    assert [day for part in found for day in part] == DAYS


def test_no_days_are_no_parts_and_a_dataset_without_days_is_one(lake: Lake) -> None:
    assert list(chunks.by_size(lake, STOCK_PRICES, [])) == []
    assert list(chunks.by_size(lake, STOCK_SPLITS, [None])) == [[None]]
