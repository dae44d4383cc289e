"""`stock-weather rollback`: goes back one publish and records it on the asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import program
from stock_weather_pipeline.errors import UsageError
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def rollback(console: Console, settings: Settings, table: str) -> None:
    """Raises UsageError for an unknown table, LakeError when there is no publish to go back to."""
    from dagster import AssetKey, AssetObservation

    from stock_weather_pipeline.automation.instance import open_instance
    from stock_weather_pipeline.lake.opening import open_lake

    lake = open_lake(settings)
    known = lake.tables.names()
    if table not in known:
        raise UsageError(f"There is no prod table {table!r}: there are {', '.join(known) or 'none yet'}.")
    undone, current = lake.tables.rollback(table)
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(
            AssetObservation(
                AssetKey(["prod", table]),
                description="Rolled back one publish.",
                metadata={"undone_snapshot": str(undone.snapshot_id), "current_snapshot": str(current.snapshot_id)},
            )
        )
    days = undone.summary.get("days", "the whole table")
    console.print(
        f"{table} is back at the publish of {current.committed_at:%Y-%m-%d %H:%M:%S} UTC. Undone: the publish of "
        f"{undone.committed_at:%Y-%m-%d %H:%M:%S} UTC ({days}, run {undone.summary.get('run-id', 'unknown')}).",
        soft_wrap=True,
    )
    if "days" in undone.summary:
        first, last = days.split(",")[0].split("..")[0], days.split("..")[-1]
        console.print(f"To publish again: {program()} run --start {first} --end {last} --again", soft_wrap=True)
