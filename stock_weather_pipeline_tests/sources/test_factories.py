"""One source per dataset, made from the settings."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline.sources import range_source, snapshot_source
from stock_weather_pipeline_tests.sources.conftest import KEY, Vendor, json_response

EMPTY = {"status": "OK", "adjusted": False, "results": []}


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_every_dataset_has_a_source(dataset: Dataset, vendor: Vendor) -> None:
    factory = range_source if dataset.partition_set else snapshot_source
    source = factory(dataset.name, load_settings(), vendor.url, vendor.url)
    assert hasattr(source, "plan") == (dataset.partition_set is not None)


def test_an_unknown_dataset_has_none(vendor: Vendor) -> None:
    with pytest.raises(KeyError):
        range_source("locations", load_settings(), vendor.url, vendor.url)
    with pytest.raises(KeyError):
        snapshot_source("weather", load_settings(), vendor.url, vendor.url)


@pytest.mark.parametrize(("sandbox", "sent"), [(False, f"Bearer {KEY.get_secret_value()}"), (True, "Bearer sandbox")])
def test_the_real_key_never_reaches_the_sandbox(sandbox: bool, sent: str, vendor: Vendor) -> None:
    vendor.answer(json_response(EMPTY))
    settings = load_settings({"polygon_api_key": KEY, "polygon_url": vendor.url, "sandbox": sandbox})
    list(range_source("stock_prices", settings, vendor.url, vendor.url).fetch([date(2025, 1, 15)]))
    snapshot_source("stock_splits", settings, vendor.url, vendor.url).fetch()
    assert [request.headers["Authorization"] for request in vendor.requests] == [sent, sent]


def test_importing_the_package_loads_no_http_library_and_no_table_library() -> None:
    code = "import sys, stock_weather_pipeline.sources as s; print(sorted({'requests', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
