"""The whole market, 11,000 tickers: one day, then years, against a bare script; peak memory, and growth with rows.

The exponent is the slope of log(time) over log(rows) between the largest two sizes: 1 is linear.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import data
from benchmarks.measuring import Result, report, verdict
from benchmarks.sp500 import compare

SESSIONS_PER_YEAR = 252
MEMORY_LIMIT_GB = 1.5


def exponent(smaller_rows: int, smaller: Result, larger_rows: int, larger: Result) -> float:
    """How time grows with rows: seconds ~ rows ^ exponent."""
    return math.log(larger.seconds / smaller.seconds) / math.log(larger_rows / smaller_rows)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=data.MARKET_TICKERS)
    parser.add_argument("--years", default="1,5", help="sizes after the single day; 20 takes long and much disk")
    parser.add_argument("--sessions-per-year", type=int, default=SESSIONS_PER_YEAR)
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args(arguments)
    sizes = [1, *(int(years) * chosen.sessions_per_year for years in chosen.years.split(","))]
    measured = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            market = data.market_file(Path(folder), chosen.tickers, data.sessions(size))
            measured[size] = compare(market, chosen.rounds, ("ours", "bare"))
    lines = []
    for size, (ours, bare) in measured.items():
        lines += [report(f"{size} sessions, {size * chosen.tickers:,} rows", [ours, bare], "bare")]
        lines += [verdict("ours / bare", ours.seconds / bare.seconds, 2.5)]
        lines += [verdict("peak memory of ours", (ours.peak_bytes or 0) / 1e9, MEMORY_LIMIT_GB, "GB"), ""]
    smaller, larger = sizes[-2:]
    for number, name in enumerate(("ours", "bare")):
        grown = exponent(smaller, measured[smaller][number], larger, measured[larger][number])
        lines.append(f"{name} grows from {smaller} to {larger} sessions with exponent {grown:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
