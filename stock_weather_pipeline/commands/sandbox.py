"""`stock-weather sandbox`: serves the vendors' API on this machine until it is stopped."""

from __future__ import annotations

from pathlib import Path

import click


def sandbox(data: Path | None, port: int, calls_per_minute: int | None) -> None:
    """Prints the settings that make another terminal use it."""
    from stock_weather_pipeline.sandbox import Sandbox

    with Sandbox(data=data, port=port, calls_per_minute=calls_per_minute) as server:
        click.echo(
            f"Serving {'the files of ' + str(data) if data else 'simulated data'} at {server.url}; Ctrl-C stops."
        )
        click.echo("In another terminal:")
        click.echo(f"  export STOCK_WEATHER_POLYGON_URL={server.url} STOCK_WEATHER_OPEN_METEO_URL={server.url}")
        click.echo("  export POLYGON_API_KEY=sandbox STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE=6000")
        server.wait()
