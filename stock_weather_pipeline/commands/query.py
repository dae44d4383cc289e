"""`stock-weather query`: one SELECT, printed as a table, CSV or JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
    try:
        result = lake.engine.query(sql)
    finally:
        lake.engine.settle("", "stock-weather query")
    if is_simulated(lake):
        click.echo(SIMULATED_BANNER, err=True)
    if form == "csv":
        from pyarrow import csv

        csv.write_csv(_flat(result), sys.stdout.buffer)
    elif form == "json":
        rows = [dict(zip(result.column_names, row, strict=True)) for row in _rows(result)]
        click.echo(json.dumps(_finite(rows), default=str, ensure_ascii=False, indent=1))
    else:
        _table(console, result)
        if result.num_rows > _SHOWN_ROWS:
            click.echo(
                f"The first {_SHOWN_ROWS} of {result.num_rows:,} rows; --format csv writes all of them.", err=True
            )


def _rows(result: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Row by row as Python values; two columns may have one name."""
    return zip(*(column.to_pylist() for column in result.columns), strict=True)


def _flat(result: pa.Table) -> pa.Table:
    """Arrays and the like as JSON text, since a field of CSV holds one value."""
    import pyarrow as pa

    for n, field in enumerate(result.schema):
        if pa.types.is_nested(field.type):
            texts = [
                None if value is None else json.dumps(_finite(value), default=str)
                for value in result.column(n).to_pylist()
            ]
            result = result.set_column(n, field.name, pa.array(texts, pa.string()))
    return result


def _finite(value: Any) -> Any:
    """NaN and infinity as null: JSON has no numbers for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return value


def _table(console: Console, result: pa.Table) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for field in result.schema:
        numeric = str(field.type).startswith(("int", "double", "float", "decimal"))
        table.add_column(escape(field.name), justify="right" if numeric else "left", overflow="fold")
    for row in _rows(result.slice(0, _SHOWN_ROWS)):
        table.add_row(*("" if value is None else escape(_text(value)) for value in row))
    console.print(table)


def _text(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
