"""Full backfill of NVDA and two locations, all layers, from a cold process.

Through Dagster with this project's event log, with Dagster's own, and the same data work without Dagster; then the
bookkeeping alone. As a child process (`run SUBJECT FIRST LAST`) this does one of them once; the vendors are the sandbox
within the process, the same for all.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.measuring import Sample, Subject, alternate, child, python, report, verdict

PLACES = "New York;Santa Clara"


def through_dagster(storage: str, first: date, last: date) -> None:
    """`stock-weather run`, with this project's event log or with Dagster's own."""
    from stock_weather_pipeline.automation import instance
    from stock_weather_pipeline.cli import main as command_line

    if storage == "stock":
        stock = Path(os.environ["STOCK_WEATHER_HOME"]) / "stock.yaml"
        stock.parent.mkdir(parents=True, exist_ok=True)
        stock.write_text(without_event_log(instance.shared_file("dagster.yaml").read_text()))
        instance.shared_file = lambda name: stock.with_name(stock.name if name == "dagster.yaml" else name)
    command_line(["run", "--start", str(first), "--end", str(last)])


def bare(first: date, last: date) -> None:
    """The layers for the same days, called one after the other: no runs, no checks of assets, no events."""
    from stock_weather_pipeline.cloud.vendors import open_vendors
    from stock_weather_pipeline.datasets import LOCATIONS, STOCK_PRICES, STOCK_SPLITS, WEATHER
    from stock_weather_pipeline.lake.opening import open_lake
    from stock_weather_pipeline.layers import catalog, parquet, prod, raw, views
    from stock_weather_pipeline.layers.audit import audit
    from stock_weather_pipeline.partitions import requested_days
    from stock_weather_pipeline.settings import load_settings
    from stock_weather_pipeline.sources.tables import gathered
    from stock_weather_pipeline.views import VIEWS

    settings = load_settings()
    lake = open_lake(settings)
    with open_vendors(settings) as vendors:
        for reference in (LOCATIONS, STOCK_SPLITS):
            raw.land_snapshot(lake, reference, vendors.fetch_snapshot(reference))
            audit(lake, reference, [None], parquet.type_days(lake, reference, [None]))
            prod.publish(lake, reference, [None], "bare")
        for dataset in (WEATHER, STOCK_PRICES):
            assert dataset.partition_set is not None
            days = requested_days(dataset.partition_set, first, last, settings.start_date)
            pages = vendors.range_source(dataset).fetch(days)
            raw.land(lake, dataset, days, gathered(dataset, pages), vendors.entities(dataset))
            catalog.register(lake, dataset)
            catalog.problems(lake, dataset, days)
            audit(lake, dataset, days, parquet.type_days(lake, dataset, days))
            prod.publish(lake, dataset, days, "bare")
            for view in VIEWS.values():
                if view.partition_set is dataset.partition_set:
                    views.create(lake, view)
                    views.read(lake, view, days)


def measure(subject: str, first: date, last: date) -> Sample:
    with tempfile.TemporaryDirectory() as folder:
        return child(
            python("benchmarks.backfill", "run", subject, str(first), str(last)), environment(Path(folder), first)
        )


def environment(home: Path, first: date) -> dict[str, str]:
    """A fresh home with NVDA and two places, on the sandbox, whatever is set outside."""
    return {
        "STOCK_WEATHER_HOME": str(home),
        "STOCK_WEATHER_SANDBOX": "1",
        "STOCK_WEATHER_TICKERS": "NVDA",
        "STOCK_WEATHER_LOCATIONS": PLACES,
        "STOCK_WEATHER_START_DATE": str(first),
    }


def bookkeeping(storage: str, first: date, last: date) -> Sample:
    """Dagster's part alone: as many assets that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        sample = child(python("benchmarks.empty", storage, f"{folder}/instance", str(first), str(last)))
        return Sample(sample.parts["bookkeeping"], sample.peak_bytes)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=date.fromisoformat, default=date(2021, 1, 4))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2025, 12, 31))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    first, last = chosen.first, chosen.last
    subjects = {"ours": "batched", "stock": "stock", "bare": "bare"}
    whole = alternate(
        [Subject(name, partial(measure, kind, first, last)) for name, kind in subjects.items()], chosen.rounds
    )
    books = alternate(
        [Subject(kind, partial(bookkeeping, kind, first, last)) for kind in ("batched", "stock")],
        chosen.rounds,
    )
    title = f"Backfill {first}..{last}, NVDA and two places, from a cold process"
    return "\n".join(
        [
            report(title, whole, "bare"),
            verdict("ours", whole[0].seconds, 20, "s"),
            f"stock / ours: {whole[1].seconds / whole[0].seconds:.1f} x, target at least 10 x",
            "",
            report("The bookkeeping alone: as many assets that do nothing", books, "batched"),
            f"stock / batched: {books[1].seconds / books[0].seconds:.1f} x, target at least 10 x",
        ]
    )


def without_event_log(text: str) -> str:
    """Dagster's own event log, and everything else the same."""
    return re.sub(r"^event_log_storage:\n(?:[ ]+.*\n)+", "", text, flags=re.MULTILINE)


def _run(subject: str, first: date, last: date) -> None:
    warnings.simplefilter("ignore")
    if subject == "bare":
        bare(first, last)
    else:
        through_dagster(subject, first, last)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        _run(sys.argv[2], date.fromisoformat(sys.argv[3]), date.fromisoformat(sys.argv[4]))
    else:
        print(main())  # noqa: T201 - a script
