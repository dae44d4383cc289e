"""The conditions every typed row must keep, derived from a contract: bounds, patterns, its rules, its day.

Used twice: the typing sets rows aside that break one, the audit proves on what was stored that none is left.
"""

from __future__ import annotations

from stock_weather_pipeline.datasets.contract import Column, ColumnType, Dataset, Rule


def row_rules(dataset: Dataset) -> tuple[Rule, ...]:
    """Rules in the order they are tried; names say what is wrong. SQL is Athena's, over the typed columns."""
    derived = [rule for column in dataset.columns for rule in _column_rules(column)]
    if dataset.day_sql is not None:
        derived.append(Rule("the row belongs to another day", f"{dataset.day_sql} = partition_day"))
    return (*derived, *dataset.rules)


def _column_rules(column: Column) -> list[Rule]:
    name = column.name
    rules = []
    if column.type is ColumnType.DOUBLE:
        rules.append(Rule(f"{name} is not a finite number", f"is_finite({name})"))
    if column.minimum is not None:
        rules.append(
            Rule(f"{name} is below {column.minimum:g} {column.unit}".rstrip(), f"{name} >= {column.minimum!r}")
        )
    if column.maximum is not None:
        rules.append(
            Rule(f"{name} is above {column.maximum:g} {column.unit}".rstrip(), f"{name} <= {column.maximum!r}")
        )
    if column.pattern is not None:
        rules.append(Rule(f"{name} has an impossible form", f"regexp_like({name}, '{column.pattern}')"))
    return rules


def missing_required(dataset: Dataset) -> str:
    """Athena SQL that is true for a row in which a required column is NULL."""
    return " OR ".join(f"{name} IS NULL" for name in dataset.required)
