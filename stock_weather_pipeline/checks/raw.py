"""Checks of the raw layer: the file is there, has the rows a complete day has, and every ticker or location."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import repeat
from typing import NamedTuple

import dagster as dg

from stock_weather_pipeline.checks.distributions import counted, n_rows
from stock_weather_pipeline.checks.results import Outcome, Violation, layer_checks
from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, days_predicate, external_table, partition_day_sql, text_list
from stock_weather_pipeline.layers.catalog import problems, register
from stock_weather_pipeline.settings import Settings

_DESCRIPTIONS = {
    "file_there": "Every day has its raw file.",
    "rows_as_expected": "Every ticker or location has as many rows as a complete day has.",
    "entities_present": "Every configured ticker or location is there.",
}


def raw_checks(dataset: Dataset, settings: Settings) -> dg.AssetChecksDefinition:
    """The checks of `raw/<dataset>`."""
    expected = _expected_entities(dataset, settings)

    def judged(lake: Lake, days: Sequence[Day]) -> Iterator[Outcome]:
        return judge(lake, dataset, days, expected)

    return layer_checks(["raw", dataset.name], _DESCRIPTIONS, dataset.partition_set, judged)


def judge(lake: Lake, dataset: Dataset, days: Sequence[Day], expected: Sequence[str]) -> Iterator[Outcome]:
    """The outcome of every check of the layer on these days."""
    table = external_table(dataset, Layer.RAW)
    held = {item.key for item in lake.objects.list(table.prefix_of(days))} if days else set()
    there = [day for day in days if table.key(day) in held]
    missing = [day for day in days if table.key(day) not in held]
    yield Outcome(
        "file_there",
        "a file for each day",
        counted("days", [*("a file" for _ in there), *("no file" for _ in missing)]),
        [Violation(day, table.key(day), "no such file") for day in missing],
    )
    register(lake, dataset)
    unreadable = problems(lake, dataset, there)
    readable = [day for day in there if day not in unreadable]
    rows = _rows_of_entities(lake, dataset, readable, expected)
    yield Outcome(
        "rows_as_expected",
        "the rows of a complete day",
        counted(
            f"{dataset.entity} days",
            [
                *(
                    name
                    for counts in rows.values()
                    for one in counts
                    for name in repeat(n_rows(one.rows), one.entities)
                ),
                *("an unreadable file" for _ in unreadable),
            ],
        ),
        [
            *(Violation(day, "a file in order", problem) for day, problem in unreadable.items()),
            *_wrong_counts(dataset, rows),
        ],
    )
    incomplete = [day for day, counts in rows.items() if sum(one.expected for one in counts) < len(expected)]
    absent = {**{day: [] for day in readable}, **_absent(lake, dataset, incomplete, expected)}
    present = {
        day: len(expected) - len(absent[day]) if expected else sum(one.entities for one in rows[day])
        for day in readable
    }
    yield _presence(expected, absent, present)


def _expected_entities(dataset: Dataset, settings: Settings) -> list[str]:
    if dataset.partition_set is None or (dataset.entity == "ticker" and settings.whole_market):
        return []
    if dataset.entity == "location":
        return [location.name for location in settings.locations]
    return list(settings.tickers)


class _Alike(NamedTuple):
    """The entities that have so many rows on a day: how many they are, how many of them expected, and one of them."""

    rows: int
    entities: int
    expected: int
    example: str


def _rows_of_entities(
    lake: Lake, dataset: Dataset, days: Sequence[Day], expected: Sequence[str]
) -> dict[Day, list[_Alike]]:
    """Counted by the engine: a whole market has millions of tickers and days. One file is counted here without it."""
    if len(days) == 1:
        return {days[0]: _rows_of_one_file(lake, dataset, days[0], expected)}
    found: dict[Day, list[_Alike]] = {day: [] for day in days}
    is_expected = f"entity IN ({text_list(expected)})" if expected else "FALSE"
    if days:
        rows = lake.rows(
            f"SELECT partition_day, row_count, count(*) AS entities, count_if({is_expected}) AS expected, "
            "min(entity) AS example FROM "
            f"(SELECT partition_day, entity, count(*) AS row_count FROM ({_entities_sql(dataset, days)}) "
            "GROUP BY partition_day, entity) GROUP BY partition_day, row_count ORDER BY partition_day, row_count"
        )
        for row in rows:
            found[row["partition_day"]].append(
                _Alike(row["row_count"], row["entities"], row["expected"], row["example"])
            )
    return found


def _rows_of_one_file(lake: Lake, dataset: Dataset, day: Day, expected: Sequence[str]) -> list[_Alike]:
    names = set(expected)
    alike: dict[int, list[str]] = defaultdict(list)
    for entity, rows in Counter(_entities_of_file(lake, dataset, day)).items():
        alike[rows].append(entity)
    return [
        _Alike(rows, len(entities), len(names.intersection(entities)), min(entities))
        for rows, entities in sorted(alike.items())
    ]


def _entities_of_file(lake: Lake, dataset: Dataset, day: Day) -> list[str]:
    """The ticker or location of each row."""
    from pyarrow import csv

    content = lake.objects.read(external_table(dataset, Layer.RAW).key(day))
    rows = csv.read_csv(
        io.BytesIO(content),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dataset.raw_schema, include_columns=[dataset.entity]),
    )
    entities: list[str] = rows[dataset.entity].to_pylist()
    return entities


def _absent(lake: Lake, dataset: Dataset, days: Sequence[Day], expected: Sequence[str]) -> dict[Day, list[str]]:
    """The expected entities that have no row, by day."""
    seen: dict[Day, set[str]] = {day: set() for day in days}
    if len(days) == 1 and expected:
        seen[days[0]].update(_entities_of_file(lake, dataset, days[0]))
    elif days and expected:
        for row in lake.rows(f"SELECT DISTINCT partition_day, entity FROM ({_entities_sql(dataset, days)})"):
            seen[row["partition_day"]].add(row["entity"])
    return {day: [name for name in expected if name not in names] for day, names in seen.items()}


def _entities_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    return (
        f"SELECT {partition_day_sql(dataset)} AS partition_day, {dataset.entity} AS entity "
        f"FROM {external_table(dataset, Layer.RAW).qualified_name} WHERE {days_predicate(dataset, days)}"
    )


def _wrong_counts(dataset: Dataset, rows: dict[Day, list[_Alike]]) -> Iterator[Violation]:
    for day, counts in rows.items():
        if not isinstance(day, date):
            continue
        wanted = dataset.rows_per_entity(day)
        wrong = next((one for one in counts if one.rows != wanted), None)
        if wrong is not None:
            yield Violation(day, f"{wanted} rows for each {dataset.entity}", f"{wrong.rows} for {wrong.example}")


def _presence(expected: Sequence[str], absent: dict[Day, list[str]], present: dict[Day, int]) -> Outcome:
    everywhere = [name for name in expected if absent and all(name in names for names in absent.values())]
    # Absent on every day is a wrong name; absent on some days is a late listing or a halt.
    advice = ": check the spelling, upper and lower case matter" if everywhere else ""
    violations = [
        Violation(day, f"rows for {', '.join(expected)}", f"none for {', '.join(names)}{advice}")
        for day, names in absent.items()
        if names
    ]
    severity = dg.AssetCheckSeverity.ERROR if everywhere else dg.AssetCheckSeverity.WARN
    judged = counted("days", (f"{count} present" for count in present.values()))
    return Outcome("entities_present", f"rows for {', '.join(expected) or 'anything'}", judged, violations, severity)
