"""A DuckDB connection on which the views exist over tables a test gives, put there by `to_duckdb` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import duckdb
import pandas as pd
import pytest

from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.layout import PROD_DATABASE
from stock_weather_pipeline.views import VIEWS


class ViewsOverTables:
    """`query` runs Athena SQL over the views; `plan` shows how DuckDB ran it, with the rows of every step."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pd.DataFrame]) -> None:
        self.connection = connection
        self.schema: dict[tuple[str, str], dict[str, str]] = {}
        for name, contract in DATASETS.items():
            columns = ", ".join(f'"{column.name}" {column.type.value}' for column in contract.columns)
            connection.execute(f"CREATE TABLE {name} ({columns})")
            if name in tables:
                rows = tables[name].reindex(columns=list(contract.column_names))
                connection.register("given", rows)
                connection.execute(f"INSERT INTO {name} SELECT * FROM given")
                connection.unregister("given")
            self._describe(name)
        for view in VIEWS.values():
            connection.execute(f"CREATE VIEW {view.name} AS {dialect.to_duckdb(view.sql, self.schema)}")
            self._describe(view.name)

    def _describe(self, name: str) -> None:
        described = self.connection.execute(f"DESCRIBE {name}").fetchall()
        self.schema[(PROD_DATABASE, name)] = {column: kind for column, kind, *_ in described}

    def query(self, sql: str) -> Any:
        return self.connection.execute(dialect.to_duckdb(sql, self.schema)).df()

    def plan(self, sql: str) -> str:
        row = self.connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT json) {dialect.to_duckdb(sql, self.schema)}"
        ).fetchone()
        assert row is not None
        return str(row[1])


OverTables = Callable[..., ViewsOverTables]


@pytest.fixture(scope="module")
def over_tables() -> Iterator[OverTables]:
    """Called with tables by name; a table that is not given is empty."""
    connections = []

    def make(**tables: pd.DataFrame) -> ViewsOverTables:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connections.append(connection)
        return ViewsOverTables(connection, tables)

    yield make
    for connection in connections:
        connection.close()
