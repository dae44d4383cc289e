"""Many days in parts that fit into memory. What is done with a part is the layers' business."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Day, ExternalTable


def by_size(lake: Lake, table: ExternalTable, days: Sequence[Day], most_bytes: int) -> Iterator[list[Day]]:
    """Ascending `days` in parts of whole months, as many as have `most_bytes` of files of the table, at least one."""
    if len(days) == 1:
        yield list(days)
        return
    sizes = {item.key: item.size_bytes for item in lake.objects.list(table.prefix)}
    part: list[Day] = []
    total = 0
    for _, month in groupby(days, lambda day: day and (day.year, day.month)):
        of_month = list(month)
        size = sum(sizes.get(table.key(day), 0) for day in of_month)
        if part and total + size > most_bytes:
            yield part
            part, total = [], 0
        part += of_month
        total += size
    if part:
        yield part
