"""Typing: every raw row ends typed, quarantined with its reason, or as an exact duplicate."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER, Dataset
from stock_weather_pipeline.lake.interfaces import Lake, Output
from stock_weather_pipeline.lake.layout import Day, Layer, external_table
from stock_weather_pipeline.layers import catalog, chunks
from stock_weather_pipeline.layers.parquet import type_days
from stock_weather_pipeline_tests.lakes import bar, files_of, hours, land_prices, land_weather, local_lake, put_csv

DAY, NEXT = date(2024, 1, 9), date(2024, 1, 10)
SHORT, LONG = date(2024, 3, 10), date(2024, 11, 3)


def stored(lake: Lake, layer: Layer, dataset: Dataset = STOCK_PRICES) -> list[dict[str, Any]]:
    names = ", ".join(column.name for column in external_table(dataset, layer).columns)
    return lake.rows(f"SELECT {names} FROM {external_table(dataset, layer).qualified_name}")


def typed_weather(lake: Lake, day: date) -> int:
    keys = files_of(lake, external_table(WEATHER, Layer.PARQUET), day)
    return sum(int(pq.read_metadata(io.BytesIO(lake.objects.read(key))).num_rows) for key in keys)


def test_good_rows_are_typed(lake: Lake) -> None:
    row = bar(DAY, volume="1.5E6", vwap="", transactions="1200.0", open=" 10.5\t", high="+12.", low=".9e1")
    put_csv(lake, STOCK_PRICES, DAY, [row])
    assert type_days(lake, STOCK_PRICES, [DAY]) == {}
    expected = {"ticker": "NVDA", "trade_date": DAY, "open": 10.5, "high": 12.0, "low": 9.0, "close": 11.0}
    expected.update({"volume": 1.5e6, "vwap": None, "transactions": 1200})
    assert stored(lake, Layer.PARQUET) == [expected]
    assert stored(lake, Layer.QUARANTINE) == []


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("ticker", None, "ticker is missing"),
        ("ticker", "  ", "ticker is missing"),
        ("ticker", "BRK/B", "ticker has an impossible form"),
        ("trade_date", "yesterday", "trade_date is not a date"),
        ("trade_date", "2024-02-30", "trade_date is not a date"),
        ("trade_date", "2024-1-9", "trade_date is not a date"),
        ("trade_date", "2024-01-09 00:00", "trade_date is not a date"),
        ("trade_date", "2024-01-10", "the row belongs to another day"),
        ("trade_date", None, "trade_date is missing"),
        ("close", None, "close is missing"),
        ("close", "n/a", "close is not a number"),
        ("close", "nan", "close is not a number"),
        ("close", "1_000", "close is not a number"),
        ("close", "11d", "close is not a number"),
        ("close", "0x10", "close is not a number"),
        ("close", "1e999", "close is not a finite number"),
        ("vwap", "inf", "vwap is not a number"),
        ("vwap", "-1e999", "vwap is not a finite number"),
        ("open", "0", "open is below 1e-06 USD"),
        ("high", "1e13", "high is above 1e+07 USD"),
        ("low", "10.6", "low is above open or close"),
        ("high", "10", "high is below open or close"),
        ("volume", "-1", "volume is below 0 shares"),
        ("transactions", "2.5", "transactions is not a whole number"),
        ("transactions", "1e30", "transactions is not a whole number"),
        ("transactions", "-1", "transactions is below 0 trades"),
    ],
)
def test_a_row_that_fails_is_set_aside_with_its_reason_and_original_values(
    lake: Lake, column: str, text: str | None, reason: str
) -> None:
    row = {**bar(DAY), column: text}
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, "AAPL"), row])
    type_days(lake, STOCK_PRICES, [DAY])
    assert [typed["ticker"] for typed in stored(lake, Layer.PARQUET)] == ["AAPL"]
    (found,) = stored(lake, Layer.QUARANTINE)
    assert found == {**{name: row[name] for name in STOCK_PRICES.column_names}, "reason": reason}


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("observed_at", "2024-01-09T12:00Z", "observed_at is not a time"),
        ("observed_at", "2024-01-09T12:00+05:00", "observed_at is not a time"),
        ("observed_at", "2024-01-09T24:00", "observed_at is not a time"),
        ("observed_at", "infinity", "observed_at is not a time"),
        ("observed_at", "2024-01-09", "observed_at is not a time"),
        ("observed_at", "2024-01-09T04:59", "the row belongs to another day"),
        ("observed_at", "2024-01-10T05:00", "the row belongs to another day"),
        ("temperature_c", "99", "temperature_c is above 62 °C"),
        ("relative_humidity_pct", "-1", "relative_humidity_pct is below 0 %"),
        ("weather_code", "3.5", "weather_code is not a whole number"),
        ("weather_code", "100", "weather_code is above 99 WMO code"),
        ("location", "", "location is missing"),
    ],
)
def test_an_hour_that_fails_is_set_aside(lake: Lake, column: str, text: str, reason: str) -> None:
    rows = hours(DAY)
    put_csv(lake, WEATHER, DAY, [*rows[1:], {**rows[0], column: text}])
    type_days(lake, WEATHER, [DAY])
    assert [row["reason"] for row in stored(lake, Layer.QUARANTINE, WEATHER)] == [reason]
    assert typed_weather(lake, DAY) == 23


@pytest.mark.parametrize(("day", "count"), [(SHORT, 23), (LONG, 25), (DAY, 24)])
def test_the_hours_of_a_day_of_any_length_belong_to_it(lake: Lake, day: date, count: int) -> None:
    land_weather(lake, [day])
    type_days(lake, WEATHER, [day])
    assert typed_weather(lake, day) == count
    assert stored(lake, Layer.QUARANTINE, WEATHER) == []


def test_exact_duplicates_are_dropped_and_rows_that_differ_are_kept(lake: Lake) -> None:
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY), bar(DAY), bar(DAY, close="11.5")])
    type_days(lake, STOCK_PRICES, [DAY])
    assert sorted(row["close"] for row in stored(lake, Layer.PARQUET)) == [11.0, 11.5]


def test_typing_again_replaces_a_day_and_what_was_quarantined(lake: Lake) -> None:
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY, close="x")])
    type_days(lake, STOCK_PRICES, [DAY])
    assert (len(stored(lake, Layer.PARQUET)), len(stored(lake, Layer.QUARANTINE))) == (0, 1)
    put_csv(lake, STOCK_PRICES, DAY, [bar(DAY)])
    type_days(lake, STOCK_PRICES, [DAY])
    assert (len(stored(lake, Layer.PARQUET)), len(stored(lake, Layer.QUARANTINE))) == (1, 0)


def test_a_day_that_cannot_be_read_keeps_its_parquet_and_stops_no_other(lake: Lake) -> None:
    land_prices(lake, [DAY, NEXT])
    type_days(lake, STOCK_PRICES, [DAY, NEXT])
    before = lake.engine.stored(external_table(STOCK_PRICES, Layer.PARQUET), [DAY])
    lake.objects.write(external_table(STOCK_PRICES, Layer.RAW).key(DAY), b"")
    put_csv(lake, STOCK_PRICES, NEXT, [bar(NEXT, close="10")])
    assert list(type_days(lake, STOCK_PRICES, [DAY, NEXT])) == [DAY]
    assert lake.engine.stored(external_table(STOCK_PRICES, Layer.PARQUET), [DAY]) == before
    assert sorted(row["close"] for row in stored(lake, Layer.PARQUET)) == [10.0, 11.0]


def test_a_range_larger_than_a_chunk_is_typed_in_several(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1), date(2024, 3, 1), date(2024, 3, 4)]
    land_prices(lake, days)
    monkeypatch.setattr(chunks, "MOST_BYTES", 1)
    unload, parts = lake.engine.unload, []

    def counted(sql: str, outputs: Sequence[Output], part: Sequence[Day]) -> None:
        parts.append(len(part))
        unload(sql, outputs, part)

    monkeypatch.setattr(lake.engine, "unload", counted)
    type_days(lake, STOCK_PRICES, days)
    assert parts == [2, 1, 2]
    assert sorted(row["trade_date"] for row in stored(lake, Layer.PARQUET)) == days


_ODD = ["nan", "inf", "1e309", "-0", "1_0", "9" * 400, "2024-01-09", "0000-00-00", "9999-12-31T23:59", "٣", "1e-400"]
TEXTS = st.one_of(st.none(), st.sampled_from(_ODD), st.text(max_size=12), st.floats().map(str), st.dates().map(str))


@pytest.mark.parametrize("dataset", [STOCK_PRICES, WEATHER], ids=lambda dataset: dataset.name)
@given(data=st.data())
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_vendor_sends_every_row_is_accounted_for(dataset: Dataset, data: st.DataObject) -> None:
    good = bar(DAY) if dataset is STOCK_PRICES else hours(DAY)[3]
    row = st.tuples(*(st.one_of(st.just(good[name]), TEXTS) for name in dataset.column_names))
    sent = data.draw(st.lists(row, min_size=1, max_size=12))
    rows = [dict(zip(dataset.column_names, values, strict=True)) for values in sent]
    with tempfile.TemporaryDirectory() as folder:
        lake = local_lake(Path(folder))
        catalog.register(lake, dataset)
        put_csv(lake, dataset, DAY, rows)
        assert type_days(lake, dataset, [DAY]) == {}
        typed, aside = stored(lake, Layer.PARQUET, dataset), stored(lake, Layer.QUARANTINE, dataset)
    originals = Counter(tuple(value or None for value in values) for values in sent)
    assert len(typed) + len(aside) == len(originals)
    assert all(row["reason"] for row in aside)
    assert {tuple(row[name] for name in dataset.column_names) for row in aside} <= set(originals)
    assert all(row[name] is not None for row in typed for name in dataset.required)
