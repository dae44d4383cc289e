"""Homes with data in them, made through the command line against a sandbox on a free port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from hypothesis import settings

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home

# Whoever runs the tests may have an account, a key and settings of their own; moto asks for the profile when imported.
for _name in [name for name in os.environ if name.startswith(("AWS_", "STOCK_WEATHER_", "POLYGON_API_KEY"))]:
    del os.environ[_name]


# No test is timed: a busy machine is no defect.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files in order: one with a test that has a time limit of its own is long and begins first."""
    long = {item.path for item in items if item.get_closest_marker("timeout")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_services_are_read_once() -> Iterator[None]:
    """Hundreds of tests open an AWS session of their own, each of which would decode megabytes of JSON again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


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
