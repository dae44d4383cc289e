"""The lakes every contract suite runs against. Another implementation is one more parameter of `lake`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stock_weather_pipeline.datasets import STOCK_PRICES
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline_tests.lakes import lake_of, local_lake


@pytest.fixture(params=["local", "aws"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake. The local one's folder has a name that patterns and URLs give a meaning to."""
    with lake_of(request.param, tmp_path / "a [lake] #1 %20*") as opened:
        yield opened


@pytest.fixture
def on_disk(tmp_path: Path) -> Lake:
    """An empty local lake, for what only a folder can show."""
    return local_lake(tmp_path / "a [lake] #1 %20*")


def prices(*rows: Mapping[str, Any]) -> pa.Table:
    """Typed rows of stock_prices; what a row leaves out is plausible."""
    usual = {"ticker": "NVDA", "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 1e6}
    return pa.Table.from_pylist([{**usual, **row} for row in rows], schema=STOCK_PRICES.arrow_schema)
