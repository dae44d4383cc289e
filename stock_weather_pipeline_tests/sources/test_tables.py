"""Pages become chunks of whole days, and tables of the vendor's text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES
from stock_weather_pipeline.errors import LakeError, TransientSourceError
from stock_weather_pipeline.sources import tables
from stock_weather_pipeline.sources.base import PARTITION_DAY, Page, Snapshot, as_text
from stock_weather_pipeline.sources.tables import Fetched, gathered, range_schema, snapshot_table

WEEK = [date(2025, 1, day) for day in range(13, 18)]


def page(
    first: date,
    last: date,
    rows: int = 4,
    calls: int = 1,
    simulated: bool = False,
    whole: bool = True,
    **values: Any,
) -> Page:
    columns = {name: [values.get(name, "1")] * rows for name in STOCK_PRICES.column_names}
    return Page(first, last, columns, [str(last)] * rows, calls, simulated, whole)


def spans(chunks: list[Fetched]) -> list[tuple[date, date, int]]:
    return [(chunk.first, chunk.last, chunk.table.num_rows) for chunk in chunks]


def test_chunks_are_whole_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS_PER_CHUNK", 8)
    chunks = list(gathered(STOCK_PRICES, (page(day, day) for day in WEEK)))
    assert spans(chunks) == [(WEEK[0], WEEK[1], 8), (WEEK[2], WEEK[3], 8), (WEEK[4], WEEK[4], 4)]


def test_pages_of_the_same_days_are_never_torn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_ROWS_PER_CHUNK", 1)
    chunks = list(
        gathered(STOCK_PRICES, [page(WEEK[0], WEEK[4], calls=2, whole=False), page(WEEK[0], WEEK[4], simulated=True)])
    )
    assert spans(chunks) == [(WEEK[0], WEEK[4], 8)]
    assert (chunks[0].calls, chunks[0].simulated) == (3, True)


@pytest.mark.parametrize("error", [TransientSourceError("down"), LakeError("full")])
def test_days_that_came_whole_before_the_source_failed_are_brought_first(error: Exception) -> None:
    def pages() -> Iterator[Page]:
        yield page(WEEK[0], WEEK[0])
        yield page(WEEK[1], WEEK[1], whole=False)
        raise error

    chunks: list[Fetched] = []
    with pytest.raises(type(error), match=str(error)):
        chunks.extend(gathered(STOCK_PRICES, pages()))
    assert spans(chunks) == ([(WEEK[0], WEEK[0], 4)] if isinstance(error, TransientSourceError) else [])


def test_no_pages_are_no_chunk_and_a_page_without_rows_is_a_table_without_rows() -> None:
    assert list(gathered(STOCK_PRICES, [])) == []
    (chunk,) = gathered(STOCK_PRICES, [page(WEEK[0], WEEK[4], rows=0)])
    assert chunk.table.schema == range_schema(STOCK_PRICES)
    assert chunk.table.num_rows == 0


def test_values_keep_the_vendors_text_and_junk_is_spelled_like_json() -> None:
    (chunk,) = gathered(STOCK_PRICES, [page(WEEK[0], WEEK[0], 1, open="1.50", high=None, low=True, close=["a"])])
    row = chunk.table.to_pylist()[0]
    assert [row[name] for name in ("open", "high", "low", "close")] == ["1.50", None, "true", '["a"]']
    assert row[PARTITION_DAY] == WEEK[0]
    assert as_text("half \ud800 a pair") == "half ? a pair"


def test_a_snapshot_is_a_table_in_the_contracts_order() -> None:
    columns = {name: ["x"] for name in reversed(LOCATIONS.column_names)}
    assert snapshot_table(LOCATIONS, Snapshot(columns, 0, None)).schema == LOCATIONS.raw_schema
