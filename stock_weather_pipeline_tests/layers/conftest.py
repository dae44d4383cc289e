"""The lakes the layers' tests run on. What lakes must do is the contract suites' business, in `lake/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline_tests.lakes import lake_of


@pytest.fixture(params=["local", "aws"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    with lake_of(request.param, tmp_path / "lake") as opened:
        yield opened
