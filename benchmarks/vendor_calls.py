"""Calls to the stock vendor for a backfill and a daily run, counted by the sandbox, against one per ticker and day."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date

from benchmarks import data
from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources.vendors import Vendors


def calls(tickers: str, days: Sequence[date]) -> int:
    """The calls that reached the server for these tickers and sessions."""
    settings = load_settings({"sandbox": True, "tickers": tickers, "polygon_calls_per_minute": 6000})
    with Sandbox() as server:
        for _ in Vendors(settings, server.url, server.url).range_source(STOCK_PRICES).fetch(days):
            pass
        return len(server.calls)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--sessions", type=int, default=1255)
    parser.add_argument("--market-sessions", type=int, default=5)
    chosen = parser.parse_args(arguments)
    days = data.sessions(chosen.sessions)
    names = ",".join(f"Z{chr(65 + n // 26)}{chr(65 + n % 26)}A" for n in range(chosen.tickers))
    market_days = days[-chosen.market_sessions :]
    rows = [
        (f"backfill, {chosen.tickers} tickers, {len(days)} sessions", calls(names, days), chosen.tickers * len(days)),
        (f"daily run, {chosen.tickers} tickers", calls(names, days[-1:]), chosen.tickers),
        (f"whole market, {len(market_days)} sessions", calls("*", market_days), len(market_days) * data.MARKET_TICKERS),
        ("daily run, whole market", calls("*", days[-1:]), data.MARKET_TICKERS),
    ]
    lines = [f"{'what':45} {'calls':>6} {'one per ticker and day':>23}"]
    return "\n".join([*lines, *(f"{what:45} {ours:6,} {naive:23,}" for what, ours, naive in rows)])


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
