"""What commands share in the terminal: the simulated banner, the table of datasets, the commands to type next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from stock_weather_pipeline.datasets import DATASETS, STOCK_PRICES, STOCK_SPLITS
from stock_weather_pipeline.partitions import PartitionSet, last_closed_day

if TYPE_CHECKING:
    from rich.console import Console

    from stock_weather_pipeline.status import Checks, DatasetStatus

# Fits a terminal of 80 columns in one line.
SIMULATED_BANNER = "SIMULATED DATA from the built-in sandbox; set POLYGON_API_KEY for real prices."


def program() -> str:
    """How the user types this program: its bare name when it is on the PATH, its path otherwise."""
    if shutil.which("stock-weather"):
        return "stock-weather"
    path = Path(sys.argv[0])
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def banner(console: Console, simulated: bool) -> None:
    if simulated:
        console.print(f"[bold black on yellow] {SIMULATED_BANNER} [/]", soft_wrap=True)


def status_table(console: Console, statuses: Sequence[DatasetStatus], views: Checks, simulated: bool) -> None:
    """One line per dataset, one for the views; in 80 columns up to ten million rows."""
    from rich import box
    from rich.table import Table

    title = "[bold black on yellow] SIMULATED DATA [/]" if simulated else None
    # No lines between columns: seven columns and their headers need the room.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("dataset", no_wrap=True, vertical="bottom")
    headers = ("days", "rows", "newest day", "quarantined\nrows", "checks\npassed", "checks\nfailed", "checks\nwarned")
    for header in headers:
        table.add_column(header, justify="right", overflow="fold", vertical="bottom")
    for item in statuses:
        table.add_row(
            item.name,
            "" if item.days is None else f"{item.days:,}",
            f"{item.rows:,}",
            str(item.newest_day or ""),
            f"{item.quarantined_rows:,}",
            *_checks(item.checks),
        )
    table.add_row("views", "", "", "", "", *_checks(views))
    console.print(table)


def say_undone(console: Console, statuses: Sequence[DatasetStatus]) -> None:
    """Days that a rollback took out of a table, which only the user may want back."""
    for item in statuses:
        if item.undone:
            console.print(
                f"{item.name}: rolled back, and not in the table: {ranges(item.undone)}. To publish again: "
                f"{publish_again(item.name, item.undone[0][0], item.undone[-1][1])}",
                soft_wrap=True,
            )


def publish_again(dataset_name: str, first: date | None, last: date | None) -> str:
    """The command that publishes days of a dataset again, or all of one without days."""
    dataset = DATASETS[dataset_name]
    only = "stocks" if dataset in (STOCK_PRICES, STOCK_SPLITS) else "weather"
    # A dataset without days is refreshed by every --again; one day beside it is the least that can be asked for.
    newest = last_closed_day(PartitionSet.SESSIONS)
    return f"{program()} run --start {first or newest} --end {last or newest} --only {only} --again"


def ranges(days: Sequence[tuple[date, date]]) -> str:
    """First and last day of each, the first few of very many."""
    shown = [f"{first}" if first == last else f"{first}..{last}" for first, last in days[:5]]
    return ", ".join([*shown, *([f"and {len(days) - 5} more"] if len(days) > 5 else [])])


def _checks(checks: Checks) -> tuple[str, str, str]:
    failed = f"[bold red]{len(checks.failed)}[/]" if checks.failed else "0"
    return str(checks.passed), failed, str(checks.warned)
