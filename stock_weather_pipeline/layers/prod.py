"""The prod layer: publishes audited days into the stable table, in one atomic commit, and can undo the last one.

The gate stands here: a day whose audit failed, or that would lose a fifth of its rows, is refused, and does not keep
the others from being published. A null never overwrites a value.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.lake.interfaces import Lake, Publish, Scope
from stock_weather_pipeline.lake.layout import (
    PROD_DATABASE,
    Day,
    Layer,
    day_ranges,
    days_predicate,
    external_table,
    partition_day_sql,
)
from stock_weather_pipeline.layers.audit import Finding, audit, parquet_versions, verdicts
from stock_weather_pipeline.layers.chunks import by_size
from stock_weather_pipeline.sources.base import PARTITION_DAY

if TYPE_CHECKING:
    import pyarrow as pa

SMALLEST_SHARE_KEPT = 0.8
SAMPLE_ROWS = 5


@dataclass
class Publication:
    """What publishing did with each day: rows of the days now in the table, and why a day was refused.

    `sample` are some of the rows, to be looked at.
    """

    rows: dict[Day, int] = field(default_factory=dict)
    changed: set[Day] = field(default_factory=set)
    refused: dict[Day, str] = field(default_factory=dict)
    publish: Publish | None = None
    sample: list[dict[str, Any]] = field(default_factory=list)


def publish(lake: Lake, dataset: Dataset, days: Sequence[Day], run_id: str, force: bool = False) -> Publication:
    """Publish the days whose audit passed; a day that already is in the table as it should be costs no commit.

    `force` allows a day to shrink; it never lets a day through whose audit failed.
    """
    result = Publication()
    good = _audited(lake, dataset, days, result)
    if not good:
        return result
    failed = dict(result.refused)
    parts = list(by_size(lake, dataset, good))

    def change() -> tuple[pa.Table | Iterator[pa.Table], Scope] | None:
        # Called again after another writer was faster: every answer is made anew.
        result.refused, result.rows = dict(failed), {}
        wanted: list[Day] = []
        for part in parts:
            candidate, held = _candidate_and_held(lake, dataset, part)
            rows = _rows_per_day(candidate)
            shrinking = {} if force else _shrinking(rows, _rows_per_day(held))
            wanted += [day for day in _differing(part, candidate, held) if day not in shrinking]
            result.refused.update(shrinking)
            # A snapshot without rows, such as the splits of a ticker that had none, is published as well.
            result.rows.update({day: rows.get(day, 0) for day in part if day not in shrinking})
            result.sample = candidate.slice(0, SAMPLE_ROWS).select(list(dataset.column_names)).to_pylist()
        result.changed = set(wanted)
        if not wanted:
            return None
        scope = _scope(dataset, wanted)
        if len(parts) == 1:
            return _only(dataset, candidate, result.changed), scope
        # Made a second time: the rows of all parts together might not fit into memory.
        touched = (part for part in parts if not result.changed.isdisjoint(part))
        return (_only(dataset, _candidate(lake, dataset, part), result.changed) for part in touched), scope

    versions = parquet_versions(lake, dataset, good)
    result.publish = lake.tables.publish(dataset, change, _summary(dataset, good, versions, run_id))
    return result


def prod_bounds_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL that selects exactly these days of the prod table."""
    if dataset.partition_set is None:
        return "TRUE"
    kind = "TIMESTAMP" if dataset.column(dataset.day_column or "").type is ColumnType.TIMESTAMP else "DATE"
    parts = []
    for first, last in day_ranges(dataset, days):
        low, high = (str(value) for value in dataset.bounds(first, last))
        parts.append(f"{dataset.day_column} >= {kind} '{low}' AND {dataset.day_column} < {kind} '{high}'")
    return _any_of(parts)


def _any_of(conditions: Sequence[str]) -> str:
    """SQL that holds where one of the conditions does, nested in halves: engines limit the depth of an expression."""
    if len(conditions) == 1:
        return f"({conditions[0]})"
    middle = len(conditions) // 2
    return f"({_any_of(conditions[:middle])} OR {_any_of(conditions[middle:])})"


def prod_rows_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL for the prod rows of days, with the day each belongs to as `partition_day`."""
    day = dataset.day_sql or "CAST(NULL AS DATE)"
    return (
        f"SELECT {', '.join(dataset.column_names)}, {day} AS {PARTITION_DAY} FROM {PROD_DATABASE}.{dataset.name} "
        f"WHERE {prod_bounds_sql(dataset, days)}"
    )


def parquet_rows_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL for the audited Parquet rows of days."""
    return (
        f"SELECT {', '.join(dataset.column_names)}, {partition_day_sql(dataset)} AS {PARTITION_DAY} FROM "
        f"{external_table(dataset, Layer.PARQUET).qualified_name} WHERE {days_predicate(dataset, days)}"
    )


def _audited(lake: Lake, dataset: Dataset, days: Sequence[Day], result: Publication) -> list[Day]:
    """The days that pass the audit; the others go to `result.refused`. A day never judged is judged now."""
    known = verdicts(lake, dataset, days)
    unjudged = [day for day in days if day not in known]
    if unjudged:
        for finding in audit(lake, dataset, unjudged, {}):
            known.setdefault(finding.day, []).append(finding)
    good = []
    for day in days:
        failed: list[Finding] = [finding for finding in known[day] if not finding.passed]
        if failed:
            result.refused[day] = "; ".join(finding.sentence for finding in failed)
        else:
            good.append(day)
    return good


def _candidate(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> pa.Table:
    """The rows to publish."""
    return lake.engine.query(_candidate_sql(dataset, days))


def _candidate_and_held(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> tuple[pa.Table, pa.Table]:
    """The rows to publish, and those that prod holds, of one query."""
    import pyarrow.compute as pc

    both = lake.engine.query(
        f"SELECT *, FALSE AS held FROM ({_candidate_sql(dataset, days)}) "
        f"UNION ALL SELECT *, TRUE AS held FROM ({prod_rows_sql(dataset, days)})"
    )
    rows, held = both.drop_columns(["held"]), both["held"]
    if not pc.any(held).as_py():
        # Nothing is held of a part that is published for the first time: the largest ones are not copied.
        return rows, rows.slice(0, 0)
    return rows.filter(pc.invert(held)), rows.filter(held)


def _candidate_sql(dataset: Dataset, days: Sequence[Day]) -> str:
    """Athena SQL for the rows to publish: the Parquet rows, with a value kept where the new one is NULL."""
    source = parquet_rows_sql(dataset, days)
    if not dataset.nullable:
        return source
    kept = ", ".join(
        f"coalesce(new.{name}, old.{name}) AS {name}" if name in dataset.nullable else f"new.{name}"
        for name in dataset.column_names
    )
    same_key = " AND ".join(f"new.{name} = old.{name}" for name in dataset.key)
    # One row for each key, whatever the table holds, so that the join cannot multiply rows.
    held = ", ".join([*dataset.key, *(f"max({name}) AS {name}" for name in dataset.nullable)])
    old = f"SELECT {held} FROM ({prod_rows_sql(dataset, days)}) GROUP BY {', '.join(dataset.key)}"
    return f"SELECT {kept}, new.{PARTITION_DAY} FROM ({source}) new LEFT JOIN ({old}) old ON {same_key}"


def _shrinking(rows: Mapping[Day, int], held_rows: Mapping[Day, int]) -> dict[Day, str]:
    """Why days may not be published that would lose more than a fifth of the rows they hold."""
    return {
        day: f"the day would shrink from {before} to {rows.get(day, 0)} rows, below {SMALLEST_SHARE_KEPT:.0%}; "
        "publish with force if that is right"
        for day, before in held_rows.items()
        if rows.get(day, 0) < before * SMALLEST_SHARE_KEPT
    }


def _differing(days: Sequence[Day], candidate: pa.Table, held: pa.Table) -> list[Day]:
    """The days of which prod does not hold exactly the rows to publish."""
    import pyarrow as pa
    import pyarrow.compute as pc

    differing = candidate
    if held.num_rows:
        # A row that is once in both tables occurs twice.
        both = pa.concat_tables([candidate, held]).group_by(candidate.column_names).aggregate([([], "count_all")])
        differing = both.filter(pc.not_equal(both["count_all"], 2))
    differs = set(differing[PARTITION_DAY].unique().to_pylist())
    return [day for day in days if day in differs]


def _only(dataset: Dataset, candidate: pa.Table, wanted: Collection[Day]) -> pa.Table:
    """The rows of the wanted days, in the contract's columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if None not in wanted:
        candidate = candidate.filter(pc.is_in(candidate[PARTITION_DAY], pa.array(list(wanted), pa.date32())))
    return candidate.select(list(dataset.column_names))


def _rows_per_day(rows: pa.Table) -> dict[Day, int]:
    counts = rows[PARTITION_DAY].value_counts().to_pylist()
    return Counter({item["values"]: item["counts"] for item in counts})


def _scope(dataset: Dataset, days: Sequence[Day]) -> Scope:
    if dataset.partition_set is None:
        return Scope()
    return Scope(day_ranges=tuple(day_ranges(dataset, days)))


def _summary(dataset: Dataset, days: Sequence[Day], versions: Mapping[Day, str], run_id: str) -> dict[str, str]:
    digest = hashlib.sha256("".join(versions.get(day, "") for day in days).encode()).hexdigest()
    summary = {"run-id": run_id, "source-version": digest, "contract": dataset.name}
    if dataset.partition_set is not None:
        summary["days"] = ",".join(f"{first}..{last}" for first, last in day_ranges(dataset, days))
        summary["day-count"] = str(len(days))
    return summary
