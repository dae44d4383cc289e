"""What queries cost: collected by whoever runs them, kept as rows of the table `query_costs`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.lake.interfaces import Spent
from stock_weather_pipeline.lake.layout import ExternalTable, Layer

if TYPE_CHECKING:
    import pyarrow as pa

USD_PER_TB = 5.0
_TB = 10**12
_MINIMUM_BYTES = 10 * 1024 * 1024

QUERY_COSTS = ExternalTable(
    dataset="query_costs",
    layer=Layer.PARQUET,
    columns=(
        Column("query_id", ColumnType.STRING, "Athena's id of the query."),
        Column("run_id", ColumnType.STRING, "Dagster run that asked, or the command."),
        Column("step", ColumnType.STRING, "Asset or check that asked."),
        Column("state", ColumnType.STRING, "SUCCEEDED, FAILED or CANCELLED."),
        Column("started_at", ColumnType.TIMESTAMP, "When the query was submitted.", unit="UTC"),
        Column("scanned_bytes", ColumnType.BIGINT, "Bytes that the query scanned.", unit="bytes"),
        Column("run_time_ms", ColumnType.BIGINT, "From submission to end, waiting included.", unit="ms"),
        Column("cost_usd", ColumnType.DOUBLE, "At the list price, with the minimum for each query.", unit="USD"),
    ),
    partitioned=True,
    comment="What each query on Athena cost.",
)


@dataclass(frozen=True)
class QueryCost:
    """One query."""

    query_id: str
    state: str
    started_at: datetime
    scanned_bytes: int
    run_time_ms: int
    cost_usd: float

    @classmethod
    def of(
        cls,
        query_id: str,
        state: str,
        statement_type: str,
        started_at: datetime | None,
        scanned_bytes: int,
        run_time_ms: int,
    ) -> QueryCost:
        started = (started_at or datetime.now(timezone.utc)).astimezone(timezone.utc).replace(tzinfo=None)
        # A failed query and DDL are free; a stopped one costs what it has scanned.
        free = state == "FAILED" or statement_type == "DDL" or (state == "CANCELLED" and scanned_bytes == 0)
        cost = 0.0 if free else max(scanned_bytes, _MINIMUM_BYTES) / _TB * USD_PER_TB
        return cls(query_id, state, started, scanned_bytes, run_time_ms, cost)


class Ledger:
    """The queries that are not settled yet. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[QueryCost] = []

    def add(self, cost: QueryCost) -> None:
        with self._lock:
            self._open.append(cost)

    def take(self) -> list[QueryCost]:
        with self._lock:
            taken, self._open = self._open, []
        return taken


def total(costs: Sequence[QueryCost]) -> Spent:
    return Spent(
        queries=len(costs),
        scanned_bytes=sum(cost.scanned_bytes for cost in costs),
        run_time_ms=sum(cost.run_time_ms for cost in costs),
        cost_usd=sum(cost.cost_usd for cost in costs),
    )


def rows(costs: Sequence[QueryCost], run_id: str, step: str) -> pa.Table:
    """The rows of `query_costs`."""
    import pyarrow as pa

    schema = pa.schema([pa.field(column.name, column.type.arrow) for column in QUERY_COSTS.columns])
    return pa.Table.from_pylist([{**vars(cost), "run_id": run_id, "step": step} for cost in costs], schema=schema)
