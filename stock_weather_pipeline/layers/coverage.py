"""Which days were already asked of the vendor, for each ticker or location.

Dagster's partitions know days, not tickers: this is what tells that a ticker added today has no history yet, and that a
ticker without a bar on a day (listed later, halted) need not be asked again and again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.partitions import ONE_DAY

Ranges = list[tuple[date, date]]


def read(lake: Lake, dataset: Dataset) -> dict[str, Ranges]:
    """Calendar-day ranges already asked, ascending and disjoint, by entity. Raises LakeError for a damaged note."""
    key = _key(dataset)
    if not lake.objects.exists(key):
        return {}
    try:
        return {
            entity: [(date.fromisoformat(first), date.fromisoformat(last)) for first, last in ranges]
            for entity, ranges in json.loads(lake.objects.read(key)).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise LakeError(
            f"{lake.objects.uri(key)} is damaged ({error}): delete it, then the days are asked of the vendor again."
        ) from error


def add(lake: Lake, dataset: Dataset, entities: Iterable[str], first: date, last: date) -> None:
    """Note that `first`..`last` was asked for the entities. A note lost to another writer only costs one more call."""
    known = read(lake, dataset)
    for entity in entities:
        known[entity] = merged([*known.get(entity, []), (first, last)])
    content = {entity: [[str(a), str(b)] for a, b in ranges] for entity, ranges in sorted(known.items())}
    lake.objects.write(_key(dataset), json.dumps(content, indent=1).encode())


def missing(lake: Lake, dataset: Dataset, entities: Sequence[str], days: Sequence[date]) -> dict[date, tuple[str, ...]]:
    """The entities not yet asked on each day; days with none are left out."""
    known = read(lake, dataset)
    found: dict[date, list[str]] = {}
    for entity in entities:
        ranges = known.get(entity, [])
        for day in days:
            if not any(first <= day <= last for first, last in ranges):
                found.setdefault(day, []).append(entity)
    return {day: tuple(names) for day, names in sorted(found.items())}


def merged(ranges: Iterable[tuple[date, date]]) -> Ranges:
    """The union of closed ranges of days, as the fewest ranges."""
    result: Ranges = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + ONE_DAY:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def _key(dataset: Dataset) -> str:
    return f"coverage/{dataset.name}.json"
