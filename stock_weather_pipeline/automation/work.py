"""Which runs are still needed for a range: days that are not materialized, from the first layer that lacks them.

Used by the command line and by sensors. Starts nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.layers import coverage
from stock_weather_pipeline.layers.audit import verdicts
from stock_weather_pipeline.partitions import contiguous, partition_key
from stock_weather_pipeline.views import VIEWS

if TYPE_CHECKING:
    from dagster import AssetKey, DagsterInstance

LAYERS = ("raw", "catalog", "parquet", "prod")

Key = tuple[str, str]
"""An asset key: layer and name."""


@dataclass(frozen=True)
class Work:
    """One ranged run: days without a gap, from one layer on to the last view. `entities` is None for all configured."""

    dataset: Dataset
    days: tuple[date, ...]
    chain: tuple[Key, ...]
    entities: tuple[str, ...] | None = None

    @property
    def described(self) -> str:
        """The work in a few words, for a person."""
        layers = "every layer" if self.chain[0][0] == LAYERS[0] else f"from {self.chain[0][0]} on"
        names = self.entities or ()
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        whose = f" of {', '.join(names[:3])}{more}" if names else ""
        return f"{self.dataset.name}{whose} {self.days[0]}..{self.days[-1]}, {layers}"

    @property
    def tags(self) -> dict[str, str]:
        return {
            "dagster/asset_partition_range_start": partition_key(self.days[0]),
            "dagster/asset_partition_range_end": partition_key(self.days[-1]),
        }


def chain_of(dataset: Dataset) -> tuple[Key, ...]:
    """Every asset with the dataset's partitions that is made from it, in order."""
    views = tuple(("views", view.name) for view in VIEWS.values() if view.partition_set is dataset.partition_set)
    return (*((layer, dataset.name) for layer in LAYERS), *views)


def missing_work(
    instance: DagsterInstance,
    lake: Lake,
    dataset: Dataset,
    days: Sequence[date],
    entities: Sequence[str] | None,
    attempted: Collection[tuple[date, Key]] = (),
) -> list[Work]:
    """The runs that `days` still need, contiguous days together; `attempted` (day, first asset) is not tried again."""
    chain = chain_of(dataset)
    first = _first_missing(instance, days, chain)
    first = _from_raw_where_audit_failed(lake, dataset, first, chain)
    uncovered = coverage.missing(lake, dataset, entities or ["*"], days)
    plans: dict[tuple[int, tuple[str, ...] | None], list[date]] = {}
    for day in days:
        # A day that is complete but for a ticker added since is fetched for that ticker alone.
        position, asked = first.get(day), None
        if position is None and day in uncovered:
            position, asked = 0, uncovered[day] if entities else None
        if position is not None and (day, chain[position]) not in attempted:
            plans.setdefault((position, asked), []).append(day)
    assert dataset.partition_set is not None
    return [
        Work(dataset, tuple(group), chain[position:], asked)
        for (position, asked), planned in plans.items()
        for group in contiguous(planned, dataset.partition_set)
    ]


def all_work(dataset: Dataset, days: Sequence[date]) -> list[Work]:
    """One run per gapless range of `days`, from raw on, whatever is there already."""
    assert dataset.partition_set is not None
    return [Work(dataset, tuple(group), chain_of(dataset)) for group in contiguous(days, dataset.partition_set)]


def _first_missing(instance: DagsterInstance, days: Sequence[date], chain: Sequence[Key]) -> dict[date, int]:
    """For each day that is not complete, the position in the chain of the first asset that lacks it.

    A day lacks an asset when it was never materialized, or when its latest attempt did not succeed. Asked of the event
    log directly: Dagster's partition status takes seconds for years of sessions.
    """
    from dagster import AssetKey

    first: dict[date, int] = {}
    for position, key in enumerate(chain):
        asset = AssetKey(list(key))
        log = instance.event_log_storage
        there = log.get_materialized_partitions(asset)
        unfinished = log.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
        for day in days:
            text = partition_key(day)
            if text not in there or text in unfinished:
                first.setdefault(day, position)
    return first


def _from_raw_where_audit_failed(
    lake: Lake, dataset: Dataset, first: dict[date, int], chain: Sequence[Key]
) -> dict[date, int]:
    """A day held back by its audit can only be healed by other data, so it starts at raw."""
    prod = chain.index(("prod", dataset.name))
    held_back = sorted(day for day, position in first.items() if position == prod)
    if not held_back:
        return first
    known = verdicts(lake, dataset, held_back)
    failed = {day for day, findings in known.items() if not all(finding.passed for finding in findings)}
    return {day: 0 if day in failed else position for day, position in first.items()}


def asset_keys(chain: Sequence[Key]) -> list[AssetKey]:
    from dagster import AssetKey

    return [AssetKey(list(key)) for key in chain]
