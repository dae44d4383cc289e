"""How a check tells its result: expected, actual, what it judged, the failing days, a sample of offending rows."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from stock_weather_pipeline.assets.reporting import clear_failure, days_of
from stock_weather_pipeline.checks.distributions import Distribution
from stock_weather_pipeline.datasets import PARTITIONED
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, day_of_key, external_table
from stock_weather_pipeline.partitions import PartitionSet

_NAMED_DAYS = 50


@dataclass(frozen=True)
class Violation:
    """One day on which a check does not hold; None where the whole table is meant."""

    day: Day
    expected: str
    actual: str
    sample: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of one check over all days of a run. `expected` is shown when nothing is violated."""

    name: str
    expected: str
    judged: Distribution
    violations: Sequence[Violation] = ()
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR


Judge = Callable[[Lake, Sequence[Day]], Iterable[Outcome]]


def layer_checks(
    key: list[str], descriptions: dict[str, str], partition_set: PartitionSet | None, judge: Judge
) -> dg.AssetChecksDefinition:
    """The checks of one asset as one step, evaluated once over all the days of a run.

    The specs have no partitions: Dagster evaluates a ranged check once, and would leave each day's entry planned.
    Executed alone, without a run's days, a check judges every day that has landed.
    """
    specs = [dg.AssetCheckSpec(name, asset=key, description=text) for name, text in descriptions.items()]

    @dg.multi_asset_check(name=f"{'__'.join(key)}__checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> Iterator[dg.AssetCheckResult]:
        selected = {selected.name for selected in context.selected_asset_check_keys}
        with clear_failure():
            days = days_of(context)
            if partition_set is not None and days == [None]:
                days = landed_days(lake, partition_set)
            for outcome in judge(lake, days):
                if outcome.name in selected:
                    yield _result(key, outcome, days)

    return checks


def landed_days(lake: Lake, partition_set: PartitionSet) -> list[Day]:
    """Every day for which a raw file of some dataset of the set is there, ascending."""
    days: set[date] = set()
    for dataset in PARTITIONED:
        if dataset.partition_set is partition_set:
            found = (day_of_key(item.key) for item in lake.objects.list(external_table(dataset, Layer.RAW).prefix))
            days.update(day for day in found if day is not None)
    return [*sorted(days)]


def _result(key: list[str], outcome: Outcome, days: Sequence[Day]) -> dg.AssetCheckResult:
    violations = list(outcome.violations)
    first = violations[0] if violations else None
    metadata: dict[str, Any] = {
        "days_checked": len(days),
        "days_failed": len(violations),
        "expected": first.expected if first else outcome.expected,
        "actual": first.actual if first else "as expected",
    }
    if violations:
        metadata["failed"] = ", ".join(str(violation.day or "whole table") for violation in violations[:_NAMED_DAYS])
    metadata.update(outcome.judged.metadata)
    samples = [json.loads(violation.sample) for violation in violations if violation.sample]
    if samples:
        metadata["sample"] = dg.MetadataValue.json(samples[0])
    description = f"{first.day or 'The table'}: expected {first.expected}, found {first.actual}" if first else None
    return dg.AssetCheckResult(
        passed=not violations,
        asset_key=key,
        check_name=outcome.name,
        severity=outcome.severity,
        metadata=metadata,
        description=description,
    )
