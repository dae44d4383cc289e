"""`stock-weather status`: newest day against the expected one, gaps, failed checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import banner, program, ranges, say_undone, status_table
from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def status(console: Console, settings: Settings) -> None:
    """Prints; changes nothing."""
    from rich.markup import escape

    from stock_weather_pipeline.automation.instance import open_instance
    from stock_weather_pipeline.checks import all_checks
    from stock_weather_pipeline.lake.opening import is_simulated, open_lake
    from stock_weather_pipeline.status import dataset_statuses, view_checks

    if not (settings.data_home / "lake").is_dir():
        console.print(f"Nothing is in {settings.data_home} yet: {program()} run", soft_wrap=True)
        return
    lake = open_lake(settings)
    simulated = is_simulated(lake)
    # Without the other definitions, which would have to be loaded for nothing.
    check_keys = [key for checks in all_checks(settings) for key in checks.check_keys]
    with open_instance(settings) as instance:
        statuses = dataset_statuses(instance, lake, [*DATASETS.values()], check_keys)
        views = view_checks(instance, check_keys)
    banner(console, simulated)
    status_table(console, statuses, views, simulated)
    for item in statuses:
        if item.gaps:
            console.print(f"{item.name}: gaps: {ranges(item.gaps)}", soft_wrap=True)
        if item.expected_day is not None and (item.newest_day is None or item.newest_day < item.expected_day):
            console.print(
                f"{item.name}: the newest closed day, {item.expected_day}, is missing: {program()} run", soft_wrap=True
            )
    say_undone(console, statuses)
    for sentence in [*views.failed, *(text for item in statuses for text in item.checks.failed)]:
        console.print("[bold red]check failed[/]", escape(sentence), soft_wrap=True)
