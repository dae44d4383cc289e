"""The views layer: the SQL view exists as written in the repository, and how many rows it has for each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, ViewDefinition, text_list
from stock_weather_pipeline.layers.answers import answer
from stock_weather_pipeline.views import VIEWS, View

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED_TICKERS = 25
"""Recomputing needs whole histories in memory; this many show a wrong formula as well as all tickers would."""

_HISTORY = timedelta(days=92)


def create(lake: Lake, view: View) -> None:
    """Create the view, or replace it where its SQL or its comments differ; what it reads exists, be it empty."""
    for name in view.depends_on:
        if name in VIEWS:
            create(lake, VIEWS[name])
        else:
            lake.tables.ensure(DATASETS[name])
    lake.catalog.put_view(ViewDefinition(view.name, view.sql, view.description, tuple(view.columns.items())))


@dataclass(frozen=True)
class DayRows:
    """What a view has for one day: how many rows, and the first of its tickers or locations in the alphabet."""

    rows: int
    first_entity: str


@dataclass(frozen=True)
class ViewRows:
    """What a view has for some days; days without rows are left out of `per_day`.

    `sample` are all rows of some tickers, those of `sampled_tickers`, or of every location, for the days and for the
    quarter of a year before the last of them.
    """

    per_day: dict[date, DayRows]
    sample: pa.Table


def read(lake: Lake, view: View, days: Sequence[date]) -> ViewRows:
    """One query says all that the asset and its check ask of the view."""
    import pyarrow.compute as pc

    tickers = sampled_tickers(lake, view)
    chosen = f" AND ticker IN ({text_list(tickers)})" if tickers else ""
    names = ", ".join(view.columns)
    nothing = ", ".join(f"NULL AS {name}" for name in view.columns)
    table = f"{PROD_DATABASE}.{view.name}"
    both = answer(
        lake,
        f"SELECT NULL AS day, NULL AS row_count, NULL AS first_entity, {names} FROM {table} "
        f"WHERE {days_between(view, [min(days), max(days) - _HISTORY, max(days)])}{chosen} "
        f"UNION ALL SELECT {view.day_column} AS day, count(*) AS row_count, min({view.entity}) AS first_entity, "
        f"{nothing} FROM {table} WHERE {days_between(view, days)} GROUP BY {view.day_column}",
        base_tables(view),
        _views_of(view),
    )
    counted = pc.is_valid(both["row_count"])
    wanted = set(days)
    per_day = {
        row["day"]: DayRows(row["row_count"], row["first_entity"])
        for row in both.filter(counted).select(["day", "row_count", "first_entity"]).to_pylist()
        if row["day"] in wanted
    }
    return ViewRows(per_day, both.filter(pc.invert(counted)).select(list(view.columns)))


def newest_rows(lake: Lake, view: View, found: ViewRows) -> list[dict[str, Any]]:
    """The rows of the newest day's first ticker or location in the quarter of a year up to it, one a day, ascending.

    Where the view has several rows for an entity and day, those like the first of the newest day are chosen.
    """
    import pyarrow.compute as pc

    if not found.per_day:
        return []
    last = max(found.per_day)
    entity = found.per_day[last].first_entity
    first = last - _HISTORY
    rows = found.sample.filter(
        (pc.field(view.entity) == entity) & (pc.field(view.day_column) >= first) & (pc.field(view.day_column) <= last)
    )
    if not rows.num_rows:
        # Of no sampled ticker: those were all delisted before.
        rows = lake.engine.query(
            f"SELECT * FROM {PROD_DATABASE}.{view.name} WHERE {view.entity} IN ({text_list([entity])}) "
            f"AND {days_between(view, [first, last])}"
        )
    of_entity = rows.sort_by([(name, "ascending") for name in view.key]).to_pylist()
    others = [column for column in view.key if column != view.day_column]
    like = next(([row[column] for column in others] for row in of_entity if row[view.day_column] == last), None)
    return [row for row in of_entity if [row[column] for column in others] == like]


def sampled_tickers(lake: Lake, view: View) -> list[str]:
    """The tickers whose rows of a view are looked at one by one; none for a view without tickers."""
    if "ticker" not in view.columns:
        return []
    prices = STOCK_PRICES.name
    first = f"SELECT DISTINCT ticker FROM {PROD_DATABASE}.{prices} ORDER BY ticker LIMIT {SAMPLED_TICKERS}"
    tickers: list[str] = answer(lake, first, [prices])["ticker"].to_pylist()
    return tickers


def base_tables(view: View) -> set[str]:
    """The prod tables that the view is computed from, directly or through other views."""
    direct = {name for name in view.depends_on if name not in VIEWS}
    return direct.union(*(base_tables(VIEWS[name]) for name in view.depends_on if name in VIEWS))


def _views_of(view: View) -> set[str]:
    """The view and every view that it reads."""
    return {view.name}.union(*(_views_of(VIEWS[name]) for name in view.depends_on if name in VIEWS))


def days_between(view: View, days: Sequence[date]) -> str:
    """Athena SQL that holds for the view's rows from the first to the last of `days`."""
    return f"{view.day_column} BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"
