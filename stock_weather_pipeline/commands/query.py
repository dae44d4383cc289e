"""`stock-weather query`: one SELECT, printed as a table, CSV or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from stock_weather_pipeline.commands.output import SIMULATED_BANNER
from stock_weather_pipeline.lake.opening import is_simulated, open_lake
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

_SHOWN_ROWS = 200


def query(console: Console, settings: Settings, sql: str, form: str) -> None:
    """Data goes to standard output alone, so that it can be piped; remarks go to standard error."""
    import click

    lake = open_lake(settings)
    result = lake.engine.query(sql)
    if is_simulated(lake):
        click.echo(SIMULATED_BANNER, err=True)
    if form == "csv":
        from pyarrow import csv

        csv.write_csv(result, sys.stdout.buffer)
    elif form == "json":
        click.echo(json.dumps(result.to_pylist(), default=str, indent=1))
    else:
        _table(console, result)


def _table(console: Console, result: pa.Table) -> None:
    from rich.table import Table

    table = Table()
    for field in result.schema:
        numeric = str(field.type).startswith(("int", "double", "float", "decimal"))
        table.add_column(field.name, justify="right" if numeric else "left")
    for row in result.slice(0, _SHOWN_ROWS).to_pylist():
        table.add_row(*("" if value is None else _text(value) for value in row.values()))
    console.print(table)
    if result.num_rows > _SHOWN_ROWS:
        console.print(f"The first {_SHOWN_ROWS} of {result.num_rows:,} rows; use --format csv for all of them.")


def _text(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
