"""Checks of the catalog layer: the raw files fit the contract, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg

from stock_weather_pipeline.checks.distributions import counted
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, external_table
from stock_weather_pipeline.layers.catalog import problems

_DESCRIPTIONS = {
    "table_matches_contract": "The raw table in the catalog has exactly the contract's columns.",
    "files_match_contract": "Every raw file has exactly the contract's columns and can be read.",
}


def catalog_checks(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks of `catalog/<dataset>`."""
    assert dataset.partition_set is not None

    def judged(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        return judge(lake, dataset, days)

    return layer_checks(["catalog", dataset.name], _DESCRIPTIONS, dataset.partition_set, judged)


def judge(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Iterator[Outcome]:
    """The outcome of every check of the layer on these days."""
    table = external_table(dataset, Layer.RAW)
    found = lake.catalog.get_table(table.database, table.name)
    names = [column.name for column in found.columns] if found else []
    expected = ", ".join(dataset.column_names)
    yield Outcome(
        "table_matches_contract",
        expected,
        counted("columns", ("as expected" if name in names else "missing" for name in dataset.column_names)),
        [] if names == list(dataset.column_names) else [Violation(None, expected, ", ".join(names) or "no such table")],
    )
    bad = problems(lake, dataset, days)
    yield Outcome(
        "files_match_contract",
        expected,
        counted("days", ("a file that does not fit" if day in bad else "a file that fits" for day in days)),
        [Violation(day, expected, problem) for day, problem in bad.items()],
    )
