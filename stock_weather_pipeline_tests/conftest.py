"""Homes with data in them, made through the command line against a sandbox on a free port."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

# Whoever runs the tests may have an account, a key and settings of their own; moto asks for the profile when imported.
for _name in [name for name in os.environ if name.startswith(("AWS_", "STOCK_WEATHER_", "POLYGON_API_KEY"))]:
    del os.environ[_name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has a time limit of its own is long and begins first, so that no worker waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def vendor() -> Iterator[Sandbox]:
    """Both vendors, simulated. Switch no fault on here: use `faulty`."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def faulty_vendor() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def faulty(faulty_vendor: Sandbox) -> Iterator[Sandbox]:
    """Both vendors, whose faults may be switched on."""
    yield faulty_vendor
    faulty_vendor.faults.clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, vendor: Sandbox) -> Home:
    """A home with every layer of one week: 2024-06-03 to 2024-06-07. Not to be changed by a test."""
    home = Home(tmp_path_factory.mktemp("finished"), vendor.url)
    result = home.invoke("run", "--start", "2024-06-03", "--end", "2024-06-07")
    assert result.exit_code == 0, result.output
    home.first_output = result.stdout
    return home
