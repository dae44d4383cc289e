"""The lake the layers' tests run on. What other lakes must do is the contract suites' business, in `lake/`."""

from __future__ import annotations

from pathlib import Path

import pytest

from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline_tests.lakes import local_lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return local_lake(tmp_path / "lake")
