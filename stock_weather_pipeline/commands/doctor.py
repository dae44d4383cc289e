"""`stock-weather doctor`: prints what was examined, with the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stock_weather_pipeline.doctor import examine
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def doctor(console: Console, settings: Settings) -> int:
    """Returns the exit code: 1 when something is missing that nothing works without."""
    fatal = False
    for item in examine(settings):
        sign = "[bold red]✗[/]" if item.fatal else ("[yellow]![/]" if item.fix else "[green]✓[/]")
        console.print(f"{sign} {item.what}: {item.found}", soft_wrap=True)
        if item.fix:
            console.print(f"    {item.fix}", soft_wrap=True)
        fatal = fatal or item.fatal
    return 1 if fatal else 0
