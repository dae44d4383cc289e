"""What a plan needs of this machine, estimated before it starts: time at the vendor's quota, disk, memory.

Estimates from measured sizes, made to warn in time and not to forbid: nothing here stops a run.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stock_weather_pipeline.automation.work import Work
from stock_weather_pipeline.layers.chunks import MOST_BYTES
from stock_weather_pipeline.sources.base import FetchPlan

MARKET_TICKERS = 11_000
"""Bars of a session of the whole market."""

# Measured with bars of one ticker to the whole market; docs/scale.md says how they grow.
RAW_BYTES_PER_ROW = 87
PARQUET_BYTES_PER_ROW = 50
PROD_BYTES_PER_ROW = 35
# A small file takes a block of the disk: the raw CSV, and the Parquet file with its footer.
FILE_BYTES_PER_DAY = 2 * 4096
DAGSTER_BYTES_PER_PARTITION = 10_000
MEMORY_BYTES = 500 * 1024**2
MEMORY_BYTES_PER_ROW = 1_200
"""Of the rows that are worked on together: a part of the range."""

LONGEST_MINUTES = 24 * 60
"""Dagster ends a run after a day."""


@dataclass(frozen=True)
class Need:
    """What a run takes: rows, bytes on this disk when it is done, bytes of memory at its peak, minutes at the quota.

    `rows_at_once` are those of the largest part, which are in memory together.
    """

    rows: int
    rows_at_once: int
    disk_bytes: int
    memory_bytes: int
    minutes: float


@dataclass(frozen=True)
class Room:
    """What the machine has free, in bytes; None where it cannot be told."""

    disk_bytes: int | None
    memory_bytes: int | None


def need(work: Work, plan: FetchPlan, entities: int, *, lake_is_here: bool) -> Need:
    """Of a ranged run from raw on. `entities` is the number of tickers or locations; `lake_is_here`: on this disk."""
    rows_of_months: Counter[tuple[int, int]] = Counter()
    for day in work.days:
        rows_of_months[day.year, day.month] += entities * work.dataset.rows_per_entity(day)
    rows = rows_of_months.total()
    # Parts are whole months, as many as have the bytes of one part.
    rows_at_once = min(rows, max(MOST_BYTES // RAW_BYTES_PER_ROW, *rows_of_months.values()))
    disk_bytes = DAGSTER_BYTES_PER_PARTITION * len(work.chain) * len(work.days)
    if lake_is_here:
        disk_bytes += rows * (RAW_BYTES_PER_ROW + PARQUET_BYTES_PER_ROW + PROD_BYTES_PER_ROW)
        disk_bytes += len(work.days) * FILE_BYTES_PER_DAY
    return Need(
        rows=rows,
        rows_at_once=rows_at_once,
        disk_bytes=disk_bytes,
        memory_bytes=MEMORY_BYTES + MEMORY_BYTES_PER_ROW * rows_at_once,
        minutes=plan.minutes,
    )


def room(folder: Path) -> Room:
    """What is free on the disk of `folder`, which need not exist yet, and in memory."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Room(shutil.disk_usage(existing).free, _available_memory(Path("/proc/meminfo")))


def warnings(work: Work, needed: Need, there: Room) -> Iterator[str]:
    """One sentence for each thing that does not fit: what is needed, what is there, what to do."""
    what = f"{work.dataset.name} {work.days[0]}..{work.days[-1]}"
    if needed.minutes > LONGEST_MINUTES:
        yield (
            f"{what} takes about {needed.minutes / 60:.0f} hours at this quota, and a run ends after "
            f"{LONGEST_MINUTES // 60}: raise STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE to what your plan allows, or run "
            "several ranges; what has come is kept."
        )
    if there.disk_bytes is not None and needed.disk_bytes > there.disk_bytes:
        yield (
            f"{what} needs about {_size(needed.disk_bytes)} of disk and {_size(there.disk_bytes)} are free: set "
            "STOCK_WEATHER_HOME to a larger disk, or run a shorter range."
        )
    if there.memory_bytes is not None and needed.memory_bytes > there.memory_bytes:
        days = _days_that_fit(work, needed, there.memory_bytes)
        advice = f"run ranges of at most {days} days" if days else "run fewer tickers"
        yield (
            f"{what} needs about {_size(needed.memory_bytes)} of memory ({needed.rows_at_once:,} rows at once) and "
            f"{_size(there.memory_bytes)} are available: {advice}."
        )


def _days_that_fit(work: Work, needed: Need, available_bytes: int) -> int:
    rows_that_fit = (available_bytes - MEMORY_BYTES) // MEMORY_BYTES_PER_ROW
    return max(0, rows_that_fit * len(work.days) // needed.rows)


def _available_memory(meminfo: Path) -> int | None:
    """Linux tells what is available; elsewhere all the memory there is stands for it."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
