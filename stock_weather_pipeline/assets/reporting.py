"""How a layer tells Dagster what it did: metadata per day, truthful partition status, one clear sentence on failure.

Everything the asset modules share about Dagster is here; what a layer does with data is in `layers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import dagster as dg

from stock_weather_pipeline.datasets.contract import Column
from stock_weather_pipeline.errors import PipelineError, TransientSourceError
from stock_weather_pipeline.lake.layout import Day

DayMetadata = Mapping[str, Any]

_NAMED_DAYS = 20
_PREVIEW_ROWS = 5


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[Day]:
    """The partitions a step works on; [None] for an asset without partitions.

    Keys are iterated, never the time window: a window spans weekends.
    """
    run = context if isinstance(context, dg.AssetExecutionContext) else context.op_execution_context
    if not run.has_partition_key and not run.has_partition_key_range:
        return [None]
    return [date.fromisoformat(key) for key in run.partition_keys]


@contextmanager
def clear_failure() -> Iterator[None]:
    """Turns an error told to users into a failed step; only what heals by itself may be retried."""
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, TransientSourceError)) from error


def materialized(
    context: dg.AssetExecutionContext,
    days: Mapping[Day, DayMetadata],
    versions: Mapping[Day, str],
    metadata: DayMetadata,
) -> dg.MaterializeResult[Any]:
    """All days are done. Dagster stamps one data version on a ranged run, so each day's own stands in its metadata."""
    for day, values in days.items():
        if day is not None:
            context.add_asset_metadata(values, asset_key=context.asset_key, partition_key=day.isoformat())
    everything = {**metadata, **days[None]} if None in days else metadata
    return dg.MaterializeResult(metadata=everything, data_version=dg.DataVersion(combined_version(versions)))


def partly_materialized(
    context: dg.AssetExecutionContext,
    days: Mapping[Day, DayMetadata],
    versions: Mapping[Day, str],
    reason: str,
    *,
    retry: bool = False,
) -> dg.Failure:
    """Some days failed: the others are recorded as materialized, and the returned failure is to be raised."""
    for day, values in days.items():
        context.log_event(
            dg.AssetMaterialization(
                asset_key=context.asset_key,
                partition=day.isoformat() if day else None,
                metadata=dict(values),
                tags={"dagster/data_version": versions[day]} if day in versions else None,
            )
        )
    return dg.Failure(reason, allow_retries=retry)


def combined_version(versions: Mapping[Day, str]) -> str:
    """The data version of a set of days: a day's own for one day, a digest over all of them for a range."""
    if len(versions) == 1:
        return next(iter(versions.values()))
    listed = "".join(f"{day}={versions[day]}\n" for day in sorted(versions, key=str))
    return hashlib.sha256(listed.encode()).hexdigest()


def named(days: Mapping[Day, str]) -> str:
    """Bad days with their reasons, as one text; the first ones stand for very many."""
    shown = [f"{day}: {reason}" if day else reason for day, reason in list(days.items())[:_NAMED_DAYS]]
    more = [f"and {len(days) - _NAMED_DAYS} more days"] if len(days) > _NAMED_DAYS else []
    return "; ".join([*shown, *more])


def table_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """The contract's columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type.value.lower(),
                description=column.described,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def preview(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """A few rows as a Markdown table."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *([_cell(row[name]) for name in header] for row in rows[:_PREVIEW_ROWS])]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(line) + " |" for line in lines))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
