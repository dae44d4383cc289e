"""Superseded raw files go by age; the current ones, and the last that is left of a day, stay."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from stock_weather_pipeline.datasets import STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.lake.layout import Layer, external_table, superseded_prefix
from stock_weather_pipeline.layers.maintenance import delete_superseded, delete_unneeded, maintain_table
from stock_weather_pipeline_tests.lakes import land_prices, local_lake

DAY = date(2024, 3, 5)
IN_91_DAYS = datetime.now(timezone.utc) + timedelta(days=91)


def test_old_versions_are_deleted_after_ninety_days_and_the_current_file_never(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    land_prices(lake, [DAY])
    land_prices(lake, [DAY], close="11.5")
    raw = external_table(STOCK_PRICES, Layer.RAW)
    (old,) = lake.objects.list(superseded_prefix(STOCK_PRICES))
    current = lake.objects.read(raw.key(DAY))

    young = delete_superseded(lake, STOCK_PRICES)
    assert (young.deleted, young.kept) == (0, 1)

    done = delete_superseded(lake, STOCK_PRICES, now=IN_91_DAYS)
    assert (done.deleted, done.bytes_deleted, done.kept) == (1, old.size_bytes, 0)
    assert lake.objects.list(superseded_prefix(STOCK_PRICES)) == []
    assert lake.objects.read(raw.key(DAY)) == current


def test_a_day_whose_current_file_is_lost_keeps_its_old_versions(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    land_prices(lake, [DAY])
    land_prices(lake, [DAY], close="11.5")
    lake.objects.delete([external_table(STOCK_PRICES, Layer.RAW).key(DAY)])
    done = delete_superseded(lake, STOCK_PRICES, now=IN_91_DAYS)
    assert (done.deleted, done.kept) == (0, 1)


def test_there_may_be_nothing_to_look_after(tmp_path: Path) -> None:
    lake = local_lake(tmp_path)
    assert maintain_table(lake, STOCK_PRICES) is None
    assert delete_superseded(lake, STOCK_SPLITS).deleted == 0
    assert delete_unneeded(lake, STOCK_PRICES) == []
