"""The views layer: the SQL view exists as written in the repository, and how many rows it has for each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, ViewDefinition
from stock_weather_pipeline.views import VIEWS, View


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


def rows_per_day(lake: Lake, view: View, days: Sequence[date]) -> dict[date, DayRows]:
    """What the view has for each of `days`; days without rows are left out."""
    rows = lake.rows(
        f"SELECT {view.day_column} AS day, count(*) AS row_count, min({view.entity}) AS first_entity "
        f"FROM {PROD_DATABASE}.{view.name} WHERE {days_between(view, days)} GROUP BY {view.day_column}"
    )
    wanted = set(days)
    return {row["day"]: DayRows(row["row_count"], row["first_entity"]) for row in rows if row["day"] in wanted}


def newest_rows(lake: Lake, view: View, entity: str, last: date) -> list[dict[str, Any]]:
    """The rows of one ticker or location in the quarter of a year up to `last`, one a day, ascending.

    Where the view has several rows for an entity and day, those like the first of `last` are chosen.
    """
    named = entity.replace("'", "''")
    rows = lake.rows(
        f"SELECT * FROM {PROD_DATABASE}.{view.name} WHERE {view.entity} = '{named}' "
        f"AND {days_between(view, [last - timedelta(days=92), last])} ORDER BY {', '.join(view.key)}"
    )
    others = [column for column in view.key if column != view.day_column]
    like = next(([row[column] for column in others] for row in rows if row[view.day_column] == last), None)
    return [row for row in rows if [row[column] for column in others] == like]


def base_tables(view: View) -> set[str]:
    """The prod tables that the view is computed from, directly or through other views."""
    direct = {name for name in view.depends_on if name not in VIEWS}
    return direct.union(*(base_tables(VIEWS[name]) for name in view.depends_on if name in VIEWS))


def days_between(view: View, days: Sequence[date]) -> str:
    """Athena SQL that holds for the view's rows from the first to the last of `days`."""
    return f"{view.day_column} BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"
