"""What commands share in the terminal: the simulated banner, tables of status, the name to type."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from stock_weather_pipeline.status import Checks, DatasetStatus

SIMULATED_BANNER = (
    "SIMULATED DATA: made by the built-in sandbox, not by any market. Set POLYGON_API_KEY for real prices."
)


def program() -> str:
    """How the user types this program: its bare name when it is on the PATH, its path otherwise."""
    if shutil.which("stock-weather"):
        return "stock-weather"
    path = Path(sys.argv[0])
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def banner(console: Console, simulated: bool) -> None:
    if simulated:
        console.print(f"[bold black on yellow] {SIMULATED_BANNER} [/]")


def status_table(
    console: Console, statuses: Sequence[DatasetStatus], views: Checks, title: str | None = None, *, gaps: bool = False
) -> None:
    """One line per dataset, one for the views."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("dataset")
    for name in ("days", "rows", "newest day", *(["gaps"] if gaps else []), "quarantined rows", "checks passed"):
        table.add_column(name, justify="right")
    table.add_column("checks failed", justify="right")
    for item in statuses:
        line = [
            item.name,
            "" if item.days is None else f"{item.days:,}",
            f"{item.rows:,}",
            str(item.newest_day or ""),
            *([", ".join(_range(first, last) for first, last in item.gaps[:3]) or "none"] if gaps else []),
            f"{item.quarantined_rows:,}",
            *_checks(item.checks),
        ]
        table.add_row(*line)
    table.add_row("views", *[""] * (5 if gaps else 4), *_checks(views))
    console.print(table)


def _range(first: object, last: object) -> str:
    return f"{first}" if first == last else f"{first}..{last}"


def _checks(checks: Checks) -> tuple[str, str]:
    warnings = f" ({checks.warned} warnings)" if checks.warned else ""
    failed = f"[bold red]{len(checks.failed)}[/]" if checks.failed else "0"
    return str(checks.passed), failed + warnings
