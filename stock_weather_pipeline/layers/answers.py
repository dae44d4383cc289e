"""Answers to queries that several steps of a run ask, kept while what they were made of stays the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stock_weather_pipeline.lake.interfaces import Lake

if TYPE_CHECKING:
    import pyarrow as pa

# Of all that is held in memory until the command ends: what has no room is asked again.
_MOST_BYTES = 32 * 1024 * 1024


def answer(lake: Lake, sql: str, tables: Iterable[str], views: Iterable[str] = ()) -> pa.Table:
    """The result of a query over these prod tables and views, asked again once one of them has changed."""
    # Read before the query: one that is changed meanwhile differs from this the next time.
    made_of = (
        *(lake.tables.current(name) for name in sorted(tables)),
        *(lake.catalog.get_view(name) for name in sorted(views)),
    )
    held = lake.answers.get(sql)
    if held is not None and held[0] == made_of:
        return held[1]
    result = lake.engine.query(sql)
    lake.answers.pop(sql, None)
    lake.answers[sql] = (made_of, result)
    while sum(kept.nbytes for _, kept in lake.answers.values()) > _MOST_BYTES:
        lake.answers.pop(next(iter(lake.answers)))
    return result
