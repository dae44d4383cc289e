"""Maintenance assets: upkeep of the prod tables, of superseded raw files and of Dagster's own records, with metrics.

Without partitions, in the group `maintenance`, and upstream of nothing: they change no answer of any query.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from pydantic import Field

from stock_weather_pipeline.assets.reporting import OWNERS, clear_failure
from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE
from stock_weather_pipeline.layers.audit import AUDITS
from stock_weather_pipeline.layers.maintenance import (
    KEPT_PUBLISHES,
    SAFETY_AGE,
    SUPERSEDED_KEPT_FOR,
    delete_superseded,
    delete_unneeded,
    maintain_table,
)

GROUP = "maintenance"
RUNS_KEPT_FOR = timedelta(days=180)

# What one materialization deletes at most; the rest is the next one's.
_MOST_RUNS_DELETED = 2_000
_PAGE = 500


class TableConfig(dg.Config):
    """How a table is kept."""

    keep_publishes: int = Field(
        default=KEPT_PUBLISHES, ge=1, description="How many publishes, the current one included, can be gone back to."
    )
    safety_age_s: float = Field(
        default=SAFETY_AGE.total_seconds(),
        ge=0,
        description="Seconds in which no publish and no query that has begun can still be running.",
    )


class SupersededConfig(dg.Config):
    """How long replaced raw files are kept."""

    keep_days: int = Field(default=SUPERSEDED_KEPT_FOR.days, ge=0, description="Days since the file was replaced.")


class UnneededConfig(dg.Config):
    """When a file is old enough to be deleted."""

    safety_age_s: float = Field(
        default=SAFETY_AGE.total_seconds(),
        ge=0,
        description="Seconds in which no write and no query that has begun can still be running.",
    )


class RunsConfig(dg.Config):
    """How long runs are kept."""

    keep_days: int = Field(default=RUNS_KEPT_FOR.days, ge=1, description="Days since the run ended.")


def maintenance_assets() -> list[dg.AssetsDefinition]:
    """One asset for each prod table, then superseded raw files, unneeded Parquet files, and Dagster's runs."""
    return [
        *(_table_asset(dataset) for dataset in (*DATASETS.values(), AUDITS)),
        _superseded_asset(),
        _unneeded_asset(),
        _runs_asset(),
    ]


def _table_asset(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=["maintenance", dataset.name],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"iceberg"},
        pool=f"publish_{dataset.name}",
        description=(
            f"Compacts {PROD_DATABASE}.{dataset.name} to one sorted file a month, expires snapshots that no kept "
            "publish needs, and deletes files that no snapshot needs."
        ),
    )
    def asset(config: TableConfig, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        with clear_failure():
            done = maintain_table(lake, dataset, config.keep_publishes, timedelta(seconds=config.safety_age_s))
        if done is None:
            return dg.MaterializeResult(metadata={"note": "there is no table yet"})
        before, after = done.files_per_month_before, done.files_per_month_after
        return dg.MaterializeResult(
            metadata={
                "data_files_before": sum(before.values()),
                "data_files_after": sum(after.values()),
                "most_files_in_a_month_before": max(before.values(), default=0),
                "most_files_in_a_month_after": max(after.values(), default=0),
                "files_per_month": dg.MetadataValue.json(
                    {month: {"before": before.get(month, 0), "after": count} for month, count in after.items()}
                ),
                "rows_rewritten": done.rows_rewritten,
                "snapshots_before": done.snapshots_before,
                "snapshots_after": done.snapshots_after,
                "files_deleted": done.files_deleted,
                "bytes_deleted": done.bytes_deleted,
            }
        )

    return asset


def _superseded_asset() -> dg.AssetsDefinition:
    @dg.asset(
        key=["maintenance", "superseded_raw_files"],
        group_name=GROUP,
        owners=OWNERS,
        description="Deletes raw files that a changed fetch replaced long ago. The current files are never touched.",
    )
    def asset(config: SupersededConfig, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        with clear_failure():
            done = [delete_superseded(lake, dataset, timedelta(days=config.keep_days)) for dataset in DATASETS.values()]
        return dg.MaterializeResult(
            metadata={
                "files_deleted": sum(one.deleted for one in done),
                "bytes_deleted": sum(one.bytes_deleted for one in done),
                "files_kept": sum(one.kept for one in done),
            }
        )

    return asset


def _unneeded_asset() -> dg.AssetsDefinition:
    @dg.asset(
        key=["maintenance", "unneeded_parquet_files"],
        group_name=GROUP,
        owners=OWNERS,
        description="Deletes files of typed rows that no day needs, such as those of killed or repeated attempts.",
    )
    def asset(config: UnneededConfig, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        with clear_failure():
            age = timedelta(seconds=config.safety_age_s)
            deleted = [item for dataset in DATASETS.values() for item in delete_unneeded(lake, dataset, age)]
        return dg.MaterializeResult(
            metadata={"files_deleted": len(deleted), "bytes_deleted": sum(item.size_bytes for item in deleted)}
        )

    return asset


def _runs_asset() -> dg.AssetsDefinition:
    @dg.asset(
        key=["maintenance", "runs"],
        group_name=GROUP,
        owners=OWNERS,
        description=(
            "Deletes old runs with their events, except those that the status of a partition rests on; of these, only "
            "the captured output is deleted."
        ),
    )
    def asset(context: dg.AssetExecutionContext, config: RunsConfig) -> dg.MaterializeResult[Any]:
        done = prune_runs(context.instance, timedelta(days=config.keep_days))
        return dg.MaterializeResult(
            metadata={"runs_deleted": done.deleted, "old_runs_kept_for_partition_status": done.kept}
        )

    return asset


@dataclass(frozen=True)
class PrunedRuns:
    """Runs that ended before the limit: deleted, and kept because the status of a partition rests on them."""

    deleted: int
    kept: int


def prune_runs(instance: dg.DagsterInstance, kept_for: timedelta, now: datetime | None = None) -> PrunedRuns:
    """Delete runs that ended longer than `kept_for` ago, as far as no partition's status rests on them.

    Deleting a run deletes its events, so a partition that this run materialized last would turn missing and be fetched
    again. Such runs keep their events and lose only their captured output, as do runs whose failed attempt is the
    latest of a partition. Results of checks outlive their runs.
    """
    limit = (now or datetime.now(timezone.utc)) - kept_for
    needed = _needed_runs(instance)
    deleted = kept = 0
    for run_id in list(_ended_before(instance, limit)):
        if deleted == _MOST_RUNS_DELETED:
            break
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        if run_id in needed:
            kept += 1
        else:
            instance.delete_run(run_id)
            deleted += 1
    return PrunedRuns(deleted, kept)


def _ended_before(instance: dg.DagsterInstance, limit: datetime) -> Iterator[str]:
    ended = dg.RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=limit)
    cursor: str | None = None
    while True:
        page = instance.get_run_records(ended, limit=_PAGE, cursor=cursor)
        yield from (record.dagster_run.run_id for record in page)
        if len(page) < _PAGE:
            return
        cursor = page[-1].dagster_run.run_id


def _needed_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs of the latest materialization of every asset and partition, and of attempts that came to nothing."""
    log = instance.event_log_storage
    needed: set[str] = set()
    for key in instance.get_asset_keys():
        latest = instance.get_latest_materialization_event(key)
        if latest is not None:
            needed.add(latest.run_id)
        ids = sorted(log.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION).values())
        for start in range(0, len(ids), _PAGE):
            chosen = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + _PAGE])
            needed.update(record.run_id for record in instance.fetch_materializations(chosen, limit=_PAGE).records)
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
        needed.update(run_id for run_id, _ in attempts.values())
    return needed
