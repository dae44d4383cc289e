"""`stock-weather dashboard`: writes the page with the charts, and opens it when asked to."""

from __future__ import annotations

import webbrowser
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import banner
from stock_weather_pipeline.errors import LakeError, UsageError
from stock_weather_pipeline.settings import Settings, parse_tickers

if TYPE_CHECKING:
    from rich.console import Console


def dashboard(
    console: Console,
    settings: Settings,
    output: Path | None,
    tickers: str | None,
    start: date | None,
    end: date | None,
    *,
    open_it: bool,
) -> int:
    """Returns the exit code: 1 when a panel failed. Raises UsageError for a wrong choice, LakeError for no space."""
    from rich.markup import escape

    from stock_weather_pipeline.dashboard.data import read
    from stock_weather_pipeline.dashboard.page import render
    from stock_weather_pipeline.dashboard.panels import PANELS
    from stock_weather_pipeline.lake.opening import open_lake

    if start and end and start > end:
        raise UsageError(f"The range {start}..{end} runs backwards: --start must not be after --end.")
    data = read(open_lake(settings), _named(tickers), start, end)
    file = (output or settings.data_home / "dashboard.html").absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(render(data))
    except OSError as error:
        raise LakeError(f"{file} cannot be written ({error.strerror}): name another file with --output.") from error
    banner(console, data.simulated)
    for name, reason in data.failed.items():
        console.print("[bold red]failed[/]", escape(f"{PANELS[name].title}: {reason}"), soft_wrap=True)
    console.print(f"Charts of {', '.join(data.tickers) or 'nothing yet'}: {file.as_uri()}", soft_wrap=True)
    if data.more_tickers:
        console.print(f"{data.more_tickers} more tickers are in the table: --tickers shows others.", soft_wrap=True)
    if open_it and not webbrowser.open(file.as_uri()):
        console.print("No browser was found: open the file above.", soft_wrap=True)
    return 1 if data.failed else 0


def _named(tickers: str | None) -> tuple[str, ...] | None:
    if tickers is None:
        return None
    try:
        named = parse_tickers(tickers)
    except ValueError as error:
        raise UsageError(f"--tickers {tickers}: {error}.") from None
    return None if named == ("*",) else named
