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
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator

from stock_weather_pipeline.datasets.contract import Column
from stock_weather_pipeline.errors import PipelineError, TransientSourceError
from stock_weather_pipeline.lake.layout import Day

DayMetadata = Mapping[str, Any]

OWNERS = ["team:market-data"]

_NAMED_DAYS = 20


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
    """All days are done. `metadata` is about the run; it stands on the newest day, not copied to each of thousands.

    Dagster stamps one data version on a ranged run, so each day's own stands in its metadata.
    """
    version = dg.DataVersion(combined_version(versions))
    if None in days:
        return dg.MaterializeResult(metadata={**metadata, **days[None]}, data_version=version)
    newest = max(days, key=str)
    _add_metadata(context, {day: {**values, **metadata} if day == newest else values for day, values in days.items()})
    return dg.MaterializeResult(data_version=version)


def _add_metadata(context: dg.AssetExecutionContext, days: Mapping[Day, DayMetadata]) -> None:
    """Metadata for each day of a run.

    `context.add_asset_metadata` lists all the run's partitions and copies all metadata at every call: 3,600 sessions
    take half a minute. So they are handed to Dagster's accumulator at once, where it still has the known form.
    """
    step = context.get_step_execution_context()
    key = context.asset_key
    if isinstance(getattr(step, "_metadata_accumulator", None), OutputMetadataAccumulator):
        step._metadata_accumulator = OutputMetadataAccumulator(
            per_output_metadata={
                AssetMetadataHandle(asset_key=key, partition_key=str(day)): v for day, v in days.items()
            }
        )
        return
    for day, values in days.items():
        context.add_asset_metadata(values, asset_key=key, partition_key=str(day))


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
