"""`stock-weather rollback`: goes back one publish and records it on the asset."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import publish_again
from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def rollback(console: Console, settings: Settings, table: str) -> None:
    """Raises UsageError for an unknown table, LakeError when there is no publish to go back to.

    Dagster still knows the undone days as materialized, so that `run` does not bring back what was just taken out.
    """
    from dagster import AssetKey, AssetObservation

    from stock_weather_pipeline.automation.instance import open_instance
    from stock_weather_pipeline.lake.opening import open_lake

    lake = open_lake(settings)
    known = [name for name in lake.tables.names() if name in DATASETS]
    if table not in known:
        raise UsageError(f"There is no prod table {table!r}: there are {', '.join(known) or 'none yet'}.")
    undone, current = lake.tables.rollback(table)
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(
            AssetObservation(
                AssetKey(["prod", table]),
                description="Rolled back one publish.",
                metadata={
                    "undone_snapshot": str(undone.snapshot_id),
                    "current_snapshot": str(current.snapshot_id) if current else "none",
                },
            )
        )
    days = undone.summary.get("days", "the whole table")
    now = f"back at the publish of {current.committed_at:%Y-%m-%d %H:%M:%S} UTC" if current else "empty"
    console.print(
        f"{table} is {now}. Undone: the publish of "
        f"{undone.committed_at:%Y-%m-%d %H:%M:%S} UTC ({days}, run {undone.summary.get('run-id', 'unknown')}).",
        soft_wrap=True,
    )
    first, last = _bounds(undone.summary.get("days"))
    console.print(f"To publish again: {publish_again(table, first, last)}", soft_wrap=True)


def _bounds(days: str | None) -> tuple[date | None, date | None]:
    """First and last of days written as `2024-01-02..2024-01-05,2024-01-09..2024-01-09`."""
    if days is None:
        return None, None
    return date.fromisoformat(days[:10]), date.fromisoformat(days[-10:])
