"""Upkeep of what is stored: prod tables stay small and quick to plan, and what nobody needs any more is deleted.

Nothing here changes what a query answers. How Dagster's own records are kept is in `assets.maintenance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake, StoredObject, TableMaintenance
from stock_weather_pipeline.lake.layout import Layer, day_of_key, external_table, superseded_prefix

KEPT_PUBLISHES = 10
# Longer than any publish or query takes: what is younger may belong to one that is running.
SAFETY_AGE = timedelta(hours=1)
SUPERSEDED_KEPT_FOR = timedelta(days=90)


@dataclass(frozen=True)
class SupersededFiles:
    """Old versions of a dataset's raw files: deleted, and kept (too young, or all that is left of their day)."""

    deleted: int
    bytes_deleted: int
    kept: int


def maintain_table(
    lake: Lake, dataset: Dataset, keep_publishes: int = KEPT_PUBLISHES, safety_age: timedelta = SAFETY_AGE
) -> TableMaintenance | None:
    """Compact a prod table, expire its snapshots and delete unneeded files; None when there is no table yet."""
    return lake.tables.maintain(dataset, keep_publishes, safety_age)


def delete_superseded(
    lake: Lake, dataset: Dataset, kept_for: timedelta = SUPERSEDED_KEPT_FOR, now: datetime | None = None
) -> SupersededFiles:
    """Delete the raw files that were replaced longer than `kept_for` ago.

    The current raw files are never touched, and a day whose current file is lost keeps all its old versions.
    """
    oldest = (now or datetime.now(timezone.utc)) - kept_for
    raw = external_table(dataset, Layer.RAW)
    current = {item.key for item in lake.objects.list(raw.prefix)}
    held = lake.objects.list(superseded_prefix(dataset))
    outdated = [item for item in held if item.modified_at < oldest and raw.key(day_of_key(item.key)) in current]
    lake.objects.delete([item.key for item in outdated])
    return SupersededFiles(len(outdated), _size(outdated), len(held) - len(outdated))


def delete_unneeded(lake: Lake, dataset: Dataset, safety_age: timedelta = SAFETY_AGE) -> list[StoredObject]:
    """Delete the files of the typed and quarantined rows that no day needs, and return them."""
    tables = (external_table(dataset, layer) for layer in (Layer.PARQUET, Layer.QUARANTINE))
    return [item for table in tables for item in lake.engine.delete_unneeded(table, safety_age)]


def _size(items: Sequence[StoredObject]) -> int:
    return sum(item.size_bytes for item in items)
