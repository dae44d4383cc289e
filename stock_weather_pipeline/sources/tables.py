"""Arrow tables of strings in a contract's columns. Nothing about vendors or HTTP belongs here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.sources.base import PARTITION_DAY

if TYPE_CHECKING:
    import pyarrow as pa

    from stock_weather_pipeline.datasets import Dataset


def text_array(values: Sequence[Any]) -> pa.Array:
    """Parsed JSON values as strings, None as null. Numbers arrive as the vendor's text already and stay as they are."""
    import pyarrow as pa

    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # Half of a surrogate pair is legal JSON but has no UTF-8.
    return text.encode("utf-8", "replace").decode()


def range_schema(dataset: Dataset) -> pa.Schema:
    """The contract's columns as strings, then PARTITION_DAY."""
    import pyarrow as pa

    return dataset.raw_schema.append(pa.field(PARTITION_DAY, pa.date32()))


def sorted_table(tables: Sequence[pa.Table], schema: pa.Schema, by: Sequence[str]) -> pa.Table:
    """One table with the rows of all, ordered by `by`; rows that tie keep the order in which they arrived."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    return table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in by]))
