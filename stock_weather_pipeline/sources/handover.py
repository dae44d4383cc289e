"""Pages as bytes, for when one process fetches and another one lands. Pure functions; who keeps the bytes is not known.

Values come back as the text that landing them directly would have stored, so both ways end in the same files.
"""

from __future__ import annotations

import gzip
import json
from datetime import date
from typing import Any

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import PermanentSourceError
from stock_weather_pipeline.sources.base import Columns, Page, Snapshot, as_text

PREFIX = "handover/"
"""Where handed-over objects are kept until they have landed."""
SCHEDULED_SPLITS = f"{PREFIX}scheduled/splits/"
"""Where a schedule has the splits handed over, for the Glue jobs: the landing zone takes datasets with days only."""


def page_to_bytes(page: Page) -> bytes:
    """Gzipped JSON; the same page gives the same bytes."""
    span = {"first": page.first.isoformat(), "last": page.last.isoformat(), "whole": page.whole}
    return _packed(
        {**span, "days": list(page.days), **_content(page.columns), "calls": page.calls, "simulated": page.simulated}
    )


def page_from_bytes(dataset: Dataset, data: bytes) -> Page:
    """Raises PermanentSourceError when it was written by a version with another contract."""
    held = _unpacked(dataset, data)
    return Page(
        date.fromisoformat(held["first"]),
        date.fromisoformat(held["last"]),
        held["columns"],
        held["days"],
        held["calls"],
        held["simulated"],
        held["whole"],
    )


def snapshot_to_bytes(snapshot: Snapshot) -> bytes:
    return _packed({**_content(snapshot.columns), "calls": snapshot.calls, "simulated": snapshot.simulated})


def snapshot_from_bytes(dataset: Dataset, data: bytes) -> Snapshot:
    """Raises PermanentSourceError when it was written by a version with another contract."""
    held = _unpacked(dataset, data)
    return Snapshot(held["columns"], held["calls"], held["simulated"])


def _content(columns: Columns) -> dict[str, Any]:
    return {"columns": {name: [as_text(value) for value in values] for name, values in columns.items()}}


def _packed(content: dict[str, Any]) -> bytes:
    # A time stamp in the header would make equal pages differ.
    return gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0)


def _unpacked(dataset: Dataset, data: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gzip.decompress(data))
    if set(content["columns"]) != set(dataset.column_names):
        raise PermanentSourceError(
            f"The columns of {dataset.name} that were handed over ({', '.join(content['columns'])}) are not the "
            "contract's: deploy the ingest function in the same version as this one."
        )
    return content
