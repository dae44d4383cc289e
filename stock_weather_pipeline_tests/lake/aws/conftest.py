"""A lake on an emulated account whose faults and calls a test may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline_tests.lakes import emulated_lake

if TYPE_CHECKING:
    from infra.emulation import EmulatedAws


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Lake, EmulatedAws]]:
    # The clients wait between their retries; how long is not what is tested.
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with emulated_lake() as pair:
        yield pair


@pytest.fixture
def lake(opened: tuple[Lake, EmulatedAws]) -> Lake:
    return opened[0]


@pytest.fixture
def aws(opened: tuple[Lake, EmulatedAws]) -> EmulatedAws:
    return opened[1]
