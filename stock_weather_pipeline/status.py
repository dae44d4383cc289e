"""What is there: newest day, gaps, rows, quarantine and checks of each dataset. Read by `run` and `status`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.automation.work import LAYERS, Key
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day, Layer, external_table
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


def dataset_statuses(
    instance: DagsterInstance, lake: Lake, datasets: Sequence[Dataset], check_keys: Collection[AssetCheckKey]
) -> list[DatasetStatus]:
    """Read the state of datasets from the prod tables, the quarantine and the instance."""
    held = _held(lake, datasets)
    return [_dataset_status(instance, dataset, held[dataset.name], check_keys) for dataset in datasets]


@dataclass
class _Held:
    """Rows of a dataset in the lake, in prod by day."""

    quarantined: int = 0
    rows: dict[Day, int] = field(default_factory=dict)


def _held(lake: Lake, datasets: Sequence[Dataset]) -> dict[str, _Held]:
    """What there is of each dataset. One query, however many there are."""
    counts = []
    for dataset in datasets:
        quarantine = external_table(dataset, Layer.QUARANTINE)
        if lake.catalog.get_table(quarantine.database, quarantine.name) is not None:
            counts.append(_count_sql(dataset, quarantine.qualified_name, "CAST(NULL AS DATE)", quarantined=True))
        if lake.tables.exists(dataset.name):
            table = f"{PROD_DATABASE}.{dataset.name}"
            counts.append(_count_sql(dataset, table, dataset.day_sql or "CAST(NULL AS DATE)", quarantined=False))
    found = {dataset.name: _Held() for dataset in datasets}
    for row in lake.rows(" UNION ALL ".join(counts)) if counts else []:
        held = found[row["dataset"]]
        if row["quarantined"]:
            held.quarantined = row["row_count"]
        else:
            held.rows[row["day"]] = row["row_count"]
    return found


def _count_sql(dataset: Dataset, table: str, day_sql: str, *, quarantined: bool) -> str:
    return (
        f"SELECT '{dataset.name}' AS dataset, {quarantined} AS quarantined, day, count(*) AS row_count "
        f"FROM (SELECT {day_sql} AS day FROM {table}) GROUP BY day"
    )


def _dataset_status(
    instance: DagsterInstance, dataset: Dataset, held: _Held, check_keys: Collection[AssetCheckKey]
) -> DatasetStatus:
    from dagster import AssetKey

    checks = latest_checks(instance, check_keys, {(layer, dataset.name) for layer in LAYERS})
    total = sum(held.rows.values())
    if dataset.partition_set is None:
        return DatasetStatus(dataset.name, None, total, None, None, None, (), (), held.quarantined, checks)
    days = sorted(day for day in held.rows if day is not None)
    missing = [day for day in dataset.partition_set.days(days[0], days[-1]) if day not in held.rows] if days else []
    recorded = instance.event_log_storage.get_materialized_partitions(AssetKey(["prod", dataset.name]))
    undone = [day for day in map(date.fromisoformat, recorded) if day not in held.rows]
    return DatasetStatus(
        dataset.name,
        len(days),
        total,
        days[0] if days else None,
        days[-1] if days else None,
        last_closed_day(dataset.partition_set),
        _ranges(missing, dataset.partition_set),
        _ranges(undone, dataset.partition_set),
        held.quarantined,
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
