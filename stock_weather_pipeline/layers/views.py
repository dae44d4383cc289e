"""The views layer: the SQL view exists as written in the repository, and how many rows it has for each day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

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


def rows_per_day(lake: Lake, view: View, days: Sequence[date]) -> dict[date, int]:
    """Rows of the view by day; days without rows are left out."""
    rows = lake.rows(
        f"SELECT {view.day_column} AS day, count(*) AS row_count FROM {PROD_DATABASE}.{view.name} "
        f"WHERE {days_between(view, days)} GROUP BY {view.day_column}"
    )
    wanted = set(days)
    return {row["day"]: row["row_count"] for row in rows if row["day"] in wanted}


def base_tables(view: View) -> set[str]:
    """The prod tables that the view is computed from, directly or through other views."""
    direct = {name for name in view.depends_on if name not in VIEWS}
    return direct.union(*(base_tables(VIEWS[name]) for name in view.depends_on if name in VIEWS))


def days_between(view: View, days: Sequence[date]) -> str:
    """Athena SQL that holds for the view's rows from the first to the last of `days`."""
    return f"{view.day_column} BETWEEN DATE '{min(days)}' AND DATE '{max(days)}'"
