"""Several panels asked in one query: where each query has its price and its latency, a page of them is a few.

A panel's columns are put into columns that all of them share, one for each type and number; a row says whose it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stock_weather_pipeline.dashboard.panels import Panel
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.lake.interfaces import Lake

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Question:
    """A panel and its SQL, with the blanks filled in."""

    panel: Panel
    sql: str


def answers(lake: Lake, questions: Mapping[str, Question]) -> dict[str, pa.Table]:
    """The rows of each panel, as it would answer alone, of one query. Raises LakeError when one of them fails."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = lake.engine.query(shared_sql(questions))
    result = {}
    for name, question in questions.items():
        fields = question.panel.fields
        rows = found.filter(pc.equal(found["panel"], name)).select(list(_shared_columns(question.panel)))
        schema = pa.schema([pa.field(field.name, field.type.arrow) for field in fields])
        result[name] = rows.rename_columns(schema.names).cast(schema)
        order = _order(question.sql)
        result[name] = result[name].sort_by(order) if order else result[name]
    return result


def shared_sql(questions: Mapping[str, Question]) -> str:
    """Athena SQL that answers every question, in no order."""
    types: dict[str, ColumnType] = {}
    for question in questions.values():
        types.update(_shared_columns(question.panel))
    parts = []
    for name, question in questions.items():
        own = {
            column: field.name
            for column, field in zip(_shared_columns(question.panel), question.panel.fields, strict=True)
        }
        values = ", ".join(
            f"CAST({own.get(column, 'NULL')} AS {kind.value}) AS {column}" for column, kind in types.items()
        )
        parts.append(f"SELECT '{name}' AS panel, {values} FROM ({question.sql})")
    return " UNION ALL ".join(parts)


def _shared_columns(panel: Panel) -> dict[str, ColumnType]:
    """The shared column that each field of a panel is put into, in the order of the fields."""
    used: Counter[ColumnType] = Counter()
    columns = {}
    for field in panel.fields:
        used[field.type] += 1
        columns[f"{field.type.name.lower()}_{used[field.type]}"] = field.type
    return columns


def _order(sql: str) -> list[tuple[str, str]]:
    """What the statement orders its rows by, in Arrow's words: a union keeps no order."""
    from stock_weather_pipeline.lake.dialect import parse

    order = parse(sql).args.get("order")
    terms = order.expressions if order is not None else []
    return [(term.this.name, "descending" if term.args.get("desc") else "ascending") for term in terms]
