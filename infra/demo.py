"""The happy part of the AWS deployment on one machine, for people without an account: an emulated account, the
committed stack on it, and `stock-weather run` into it. What that does not prove: infra/emulation/README.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from infra import deploy, smoke
from infra.emulation.deployed import STACK, deployed_stack
from stock_weather_pipeline.partitions import PartitionSet, last_closed_day
from stock_weather_pipeline.sandbox import Sandbox

_NEWEST = "SELECT ticker, trade_date, close, sma_7 FROM moving_averages ORDER BY trade_date DESC LIMIT 5"
_COSTS = (
    "SELECT step, count(*) AS queries, sum(scanned_bytes) AS scanned_bytes, round(sum(cost_usd), 6) AS cost_usd "
    "FROM stock_weather_parquet.query_costs GROUP BY step ORDER BY step"
)


def show(say: Callable[[str], None], days: int) -> int:
    """Deploy, run the newest `days`, query; everything is gone afterwards. The exit code of the command that failed."""
    last = last_closed_day(PartitionSet.SESSIONS)
    first = last - timedelta(days=days - 1)
    with tempfile.TemporaryDirectory(prefix="stock-weather-demo-") as name, Sandbox() as vendors:
        say("An emulated AWS account on this machine; both vendors are the sandbox: SIMULATED DATA.")
        with deployed_stack(vendors.url, Path(name)) as (aws, account):
            found = len(list(smoke.look(account, STACK)))
            say(f"Deployed infra/template.json: {found} resources found at their services.")
            lines = dict(line.split("=", 1) for line in deploy.settings_lines(account, STACK))
            environment = {
                **os.environ,
                **lines,
                **aws.environment,
                "STOCK_WEATHER_HOME": str(Path(name) / "home"),
                "STOCK_WEATHER_POLYGON_URL": vendors.url,
                "STOCK_WEATHER_OPEN_METEO_URL": vendors.url,
                "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": "6000",
            }
            stock_weather = partial(_stock_weather, say, Path(name), environment)
            aws.calls.reset()
            code = stock_weather("run", *_range(first, last))
            calls = ", ".join(f"{service} {sum(n.values())}" for service, n in sorted(aws.calls.by_service().items()))
            say(f"Calls to AWS: {calls}.")
            for sql in (_NEWEST, _COSTS):
                code = code or stock_weather("query", sql)
    return code


def _range(first: date, last: date) -> tuple[str, ...]:
    return "--start", str(first), "--end", str(last)


def _stock_weather(say: Callable[[str], None], folder: Path, environment: dict[str, str], *words: str) -> int:
    say(f"$ stock-weather {' '.join(words)}")
    command = [sys.executable, "-m", "stock_weather_pipeline.cli", *words]
    # In a folder without `.env`.
    return subprocess.run(command, env=environment, cwd=folder).returncode
