"""What is there: newest day, gaps, rows, quarantine and checks of each dataset. Read by `run` and `status`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.work import LAYERS, Key
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Layer, external_table
from stock_weather_pipeline.partitions import PartitionSet, contiguous, last_closed_day
from stock_weather_pipeline.views import VIEWS

if TYPE_CHECKING:
    from dagster import AssetCheckKey, DagsterInstance


@dataclass(frozen=True)
class Checks:
    """The latest result of every check of some assets."""

    passed: int
    warned: int
    failed: tuple[str, ...]


@dataclass(frozen=True)
class DatasetStatus:
    """One dataset as it stands in prod.

    `gaps` are first and last day of each run of missing days up to the newest. `undone` are likewise the days that
    were published and are not in the table any more: they were rolled back.
    """

    name: str
    days: int | None
    rows: int
    first_day: date | None
    newest_day: date | None
    expected_day: date | None
    gaps: tuple[tuple[date, date], ...]
    undone: tuple[tuple[date, date], ...]
    quarantined_rows: int
    checks: Checks


def dataset_status(
    instance: DagsterInstance, lake: Lake, dataset: Dataset, check_keys: Iterable[AssetCheckKey]
) -> DatasetStatus:
    """Read one dataset's state from the prod table, the quarantine and the instance."""
    from dagster import AssetKey

    checks = latest_checks(instance, check_keys, {(layer, dataset.name) for layer in LAYERS})
    quarantine = external_table(dataset, Layer.QUARANTINE)
    known = lake.catalog.get_table(quarantine.database, quarantine.name) is not None
    quarantined = _count(lake, quarantine.qualified_name) if known else 0
    published = lake.tables.exists(dataset.name)
    if dataset.partition_set is None:
        rows = _count(lake, f"{PROD_DATABASE}.{dataset.name}") if published else 0
        return DatasetStatus(dataset.name, None, rows, None, None, None, (), (), quarantined, checks)
    rows_of_days = _rows_of_days(lake, dataset) if published else {}
    days = sorted(rows_of_days)
    held = set(days)
    missing = [day for day in dataset.partition_set.days(days[0], days[-1]) if day not in held] if days else []
    recorded = instance.event_log_storage.get_materialized_partitions(AssetKey(["prod", dataset.name]))
    undone = [day for day in map(date.fromisoformat, recorded) if day not in held]
    return DatasetStatus(
        dataset.name,
        len(days),
        sum(rows_of_days.values()),
        days[0] if days else None,
        days[-1] if days else None,
        last_closed_day(dataset.partition_set),
        _ranges(missing, dataset.partition_set),
        _ranges(undone, dataset.partition_set),
        quarantined,
        checks,
    )


def _ranges(days: Iterable[date], partition_set: PartitionSet) -> tuple[tuple[date, date], ...]:
    return tuple((group[0], group[-1]) for group in contiguous(days, partition_set))


def view_checks(instance: DagsterInstance, keys: Iterable[AssetCheckKey]) -> Checks:
    """The latest result of the views' checks."""
    return latest_checks(instance, keys, {("views", name) for name in VIEWS})


def latest_checks(instance: DagsterInstance, keys: Iterable[AssetCheckKey], assets: Collection[Key]) -> Checks:
    """The newest result of each check on some assets; checks that were never executed are left out."""
    from dagster import AssetCheckEvaluation

    chosen = [key for key in keys if tuple(key.asset_key.path) in assets]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(chosen)
    passed = warned = 0
    failed: list[str] = []
    for key, record in sorted(records.items(), key=lambda item: str(item[0])):
        evaluation = record.evaluation
        if not isinstance(evaluation, AssetCheckEvaluation):
            continue  # planned, and not executed since its run failed before
        if evaluation.passed:
            passed += 1
        elif evaluation.severity.value == "WARN":
            warned += 1
        else:
            failed.append(f"{'/'.join(key.asset_key.path)} {key.name}: {evaluation.description or 'failed'}")
    return Checks(passed, warned, tuple(failed))


def _count(lake: Lake, table: str) -> int:
    return int(lake.rows(f"SELECT count(*) AS row_count FROM {table}")[0]["row_count"])


def _rows_of_days(lake: Lake, dataset: Dataset) -> dict[date, int]:
    rows = lake.rows(
        f"SELECT day, count(*) AS row_count FROM (SELECT {dataset.day_sql} AS day "
        f"FROM {PROD_DATABASE}.{dataset.name}) GROUP BY day"
    )
    return {row["day"]: row["row_count"] for row in rows}
