"""687,592 rows of 501 tickers, raw to prod and views: the project's layers, a bare script, dlt to the same layout."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import data, pipelines
from benchmarks.measuring import Result, Sample, Subject, alternate, report, verdict

SESSIONS = 1373
"""501 tickers on as many sessions are 687,873 bars, the size of five years of the index."""


def compare(ticker_count: int, session_count: int, rounds: int, subjects: Sequence[str]) -> list[Result]:
    """Every subject in a fresh folder each time."""
    with tempfile.TemporaryDirectory() as folder:
        market = data.market_file(Path(folder), ticker_count, data.sessions(session_count))

        def subject(name: str) -> Subject:
            def measure() -> Sample:
                with tempfile.TemporaryDirectory(dir=folder) as fresh:
                    return pipelines.measure(name, Path(fresh) / name, market)

            return Subject(name, measure)

        return alternate([subject(name) for name in subjects], rounds)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=data.SP500_TICKERS)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    results = compare(chosen.tickers, chosen.sessions, chosen.rounds, ("ours", "bare", "dlt"))
    ours, bare, dlt = results
    title = f"{chosen.tickers * chosen.sessions:,} rows, {chosen.tickers} tickers, raw to prod to all views"
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
