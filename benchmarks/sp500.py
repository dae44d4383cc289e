"""687,592 rows of 501 tickers, raw to prod and views: the project's layers, a bare script, dlt to the same layout.

Simulated to that size; with `--data` the bars that are recorded in a folder, such as the index's own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks import data, pipelines
from benchmarks.measuring import Result, Sample, Subject, alternate, report, verdict

SESSIONS = 1373
"""501 tickers on as many sessions are 687,873 bars, the size of five years of the index."""


def compare(market: Path, rounds: int, subjects: Sequence[str]) -> list[Result]:
    """Every subject on the bars of a file, in a fresh folder beside it each time."""

    def subject(name: str) -> Subject:
        def measure() -> Sample:
            with tempfile.TemporaryDirectory(dir=market.parent) as fresh:
                return pipelines.measure(name, Path(fresh) / name, market)

        return Subject(name, measure)

    return alternate([subject(name) for name in subjects], rounds)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=data.SP500_TICKERS)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--last", type=date.fromisoformat, default=data.LAST, help="the newest day, YYYY-MM-DD")
    parser.add_argument(
        "--data", type=Path, help="recorded bars instead of simulated ones, as the sandbox replays them"
    )
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    days = data.sessions(chosen.sessions, chosen.last)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.data is None:
            market, kind = data.market_file(folder, chosen.tickers, days), f"{chosen.tickers} simulated tickers"
        else:
            market, kind = data.recorded_file(folder, chosen.data, days), "recorded"
        rows = data.row_count(market)
        results = compare(market, chosen.rounds, ("ours", "bare", "dlt"))
    ours, bare, dlt = results
    title = f"{rows:,} rows, {kind}, {days[0]} to {days[-1]}, raw to prod to all views"
    loaded = ours.seconds - ours.part("views")
    return "\n".join(
        [
            report(title, results, "bare"),
            "",
            verdict("ours / bare", ours.seconds / bare.seconds, 2.5),
            verdict("ours without views / dlt, which has none", loaded / dlt.seconds, 1.0),
        ]
    )


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
