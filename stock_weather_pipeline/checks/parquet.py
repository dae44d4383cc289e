"""Checks of the parquet layer: the audit's verdicts, as they were computed for publishing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg

from stock_weather_pipeline.checks.distributions import counted
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day
from stock_weather_pipeline.layers.audit import CHECKS, verdicts


def parquet_checks(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks of `parquet/<dataset>`."""
    assert dataset.partition_set is not None

    def judged(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        return judge(lake, dataset, days)

    return layer_checks(["parquet", dataset.name], CHECKS, dataset.partition_set, judged)


def judge(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Iterator[Outcome]:
    """The outcome of every check of the layer on these days."""
    known = verdicts(lake, dataset, days)
    unjudged = [Violation(day, "a verdict", "the day was never audited") for day in days if day not in known]
    for name, description in CHECKS.items():
        judged = [finding for findings in known.values() for finding in findings if finding.check == name]
        failed = [
            Violation(finding.day, finding.expected, finding.actual, finding.sample)
            for finding in judged
            if not finding.passed
        ]
        found = counted("days", [*(finding.actual for finding in judged), *("never audited" for _ in unjudged)])
        yield Outcome(name, description, found, [*unjudged, *failed])
