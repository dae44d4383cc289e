"""Many days in parts that fit into memory. What is done with a part is the layers' business."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from stock_weather_pipeline.datasets import Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, Layer, external_table

# Of raw files: 700,000 rows of prices, which take a few hundred megabytes to type, compare or sort. Five years of one
# ticker are one part.
MOST_BYTES = 64 * 1024 * 1024


def by_size(lake: Lake, dataset: Dataset, days: Sequence[Day]) -> Iterator[list[Day]]:
    """Ascending `days` in parts of whole months, as many as have MOST_BYTES of raw files, at least one."""
    if len(days) <= 1:
        yield from ([day] for day in days)
        return
    table = external_table(dataset, Layer.RAW)
    sizes = {item.key: item.size_bytes for item in lake.objects.list(table.prefix_of(days))}
    part: list[Day] = []
    total = 0
    for _, month in groupby(days, lambda day: day and (day.year, day.month)):
        of_month = list(month)
        size = sum(sizes.get(table.key(day), 0) for day in of_month)
        if part and total + size > MOST_BYTES:
            yield part
            part, total = [], 0
        part += of_month
        total += size
    if part:
        yield part
