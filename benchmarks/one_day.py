"""The nightly run, one new day through all layers from a cold process, against an empty run with as many assets."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from benchmarks import data
from benchmarks.backfill import environment
from benchmarks.measuring import Sample, Subject, alternate, child, python, report, verdict


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", type=int, default=252, help="sessions that are there before")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    days = data.sessions(chosen.history + chosen.rounds)
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder) / "home", days[0])
        before = days[chosen.history - 1]
        child(_command(days[0], before), variables)
        new_days, numbers = iter(days[chosen.history :]), itertools.count()
        subjects = [
            Subject("ours", lambda: _night(new_days, variables)),
            Subject("empty", lambda: _empty(Path(folder) / f"empty{next(numbers)}", before)),
        ]
        results = alternate(subjects, chosen.rounds)
    ours, empty = results
    return "\n".join(
        [
            report(f"One new day on {chosen.history} sessions of NVDA and two places", results, "empty"),
            verdict("ours / empty", ours.seconds / empty.seconds, 1.5),
        ]
    )


def _night(new_days: Iterator[date], variables: dict[str, str]) -> Sample:
    day = next(new_days)
    return child(_command(day, day), variables)


def _empty(folder: Path, day: date) -> Sample:
    sample = child(python("benchmarks.empty", "batched", str(folder), str(day), str(day)))
    return Sample(sample.seconds, sample.peak_bytes)


def _command(first: date, last: date) -> list[str]:
    return python("stock_weather_pipeline.cli", "run", "--start", str(first), "--end", str(last))


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
