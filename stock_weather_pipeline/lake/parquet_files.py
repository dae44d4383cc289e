"""Reading a single Parquet file, the same for every deployment. Which file that is belongs to the engines."""

from __future__ import annotations

import io
from typing import Any

from stock_weather_pipeline.errors import UnreadableFileError


def first_rows(content: bytes, count: int) -> list[dict[str, Any]]:
    """At most `count` rows of a Parquet file. Raises UnreadableFileError for one that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Athena's UNLOAD writes times in a form that Arrow otherwise takes for nanoseconds.
        file = pq.ParquetFile(io.BytesIO(content), coerce_int96_timestamp_unit="us")
        batch = next(file.iter_batches(batch_size=count), None)
    except (OSError, pa.ArrowException) as error:
        raise UnreadableFileError(f"The Parquet file cannot be read: {error}") from error
    rows: list[dict[str, Any]] = batch.to_pylist() if batch is not None else []
    return rows
