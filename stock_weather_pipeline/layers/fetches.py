"""When days were fetched from the vendor, so that a record that arrives late never replaces a row fetched after it.

One note for each landed chunk, below `fetches/<dataset>/`; the notes are few: the older half of too many is folded into
one that stands for all days. What arrived in the landing zone has stamps of its own, beside its rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake

MOST_NOTES = 64


@dataclass(frozen=True)
class Fetch:
    """Every row of `entities` (None: of all) of the days `first`..`last` was asked for by `fetched_at` (ISO, UTC)."""

    fetched_at: str
    first: date
    last: date
    entities: frozenset[str] | None

    def covers(self, entity: str, day: date) -> bool:
        return self.first <= day <= self.last and (self.entities is None or entity in self.entities)


def note(
    lake: Lake, dataset: Dataset, entities: Sequence[str] | None, first: date, last: date, moment: datetime
) -> None:
    """Write down a fetch that has landed. Whole seconds: the clock of a file system, or of S3, knows no fractions."""
    fetched_at = moment.astimezone(timezone.utc).replace(tzinfo=None, microsecond=0).isoformat()
    _write(lake, dataset, Fetch(fetched_at, first, last, None if entities is None else frozenset(entities)))
    _fold(lake, dataset)


def read(lake: Lake, dataset: Dataset) -> list[Fetch]:
    """Every fetch that is noted, oldest first. Raises LakeError for a damaged note."""
    return [_read(lake, item.key) for item in lake.objects.list(_prefix(dataset))]


def latest(fetches: Sequence[Fetch], entity: str, day: date) -> str:
    """When the entity's rows of the day were fetched last (ISO, UTC); empty when that is not known."""
    return max((fetch.fetched_at for fetch in fetches if fetch.covers(entity, day)), default="")


def _fold(lake: Lake, dataset: Dataset) -> None:
    """Written before the folded notes are deleted: a kill in between only leaves notes that say less."""
    keys = [item.key for item in lake.objects.list(_prefix(dataset))]
    if len(keys) <= MOST_NOTES:
        return
    old = keys[: len(keys) - MOST_NOTES // 2]
    newest = _read(lake, old[-1]).fetched_at
    folded = _write(lake, dataset, Fetch(newest, date.min, date.max, None))
    lake.objects.delete([key for key in old if key != folded])


def _write(lake: Lake, dataset: Dataset, fetch: Fetch) -> str:
    content = {
        "fetched_at": fetch.fetched_at,
        "first": str(fetch.first),
        "last": str(fetch.last),
        "entities": None if fetch.entities is None else sorted(fetch.entities),
    }
    data = json.dumps(content, ensure_ascii=False).encode()
    # The time first, so that a listing by key is in order of time.
    key = f"{_prefix(dataset)}{fetch.fetched_at}-{hashlib.sha256(data).hexdigest()[:8]}.json"
    lake.objects.write(key, data)
    return key


def _read(lake: Lake, key: str) -> Fetch:
    try:
        held = json.loads(lake.objects.read(key))
        names = held["entities"]
        first, last = (date.fromisoformat(held[name]) for name in ("first", "last"))
        return Fetch(str(held["fetched_at"]), first, last, None if names is None else frozenset(names))
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"{lake.objects.uri(key)} is damaged ({error}): delete it, then a late record may replace what was fetched."
        ) from error


def _prefix(dataset: Dataset) -> str:
    return f"fetches/{dataset.name}/"
