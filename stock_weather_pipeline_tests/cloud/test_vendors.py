"""Which way a deployment's vendors are reached."""

from __future__ import annotations

import pytest

from stock_weather_pipeline.cloud.ingestion import FunctionVendors
from stock_weather_pipeline.cloud.vendors import open_vendors
from stock_weather_pipeline.datasets import LOCATIONS
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.settings import load_settings
from stock_weather_pipeline_tests.infra.ingest.conftest import KEY, RAW_BUCKET, Stack

BUCKETS = {"raw_bucket": RAW_BUCKET, "parquet_bucket": "parquet-bucket", "results_bucket": "results-bucket"}


def test_a_run_has_the_key_of_the_secret_unless_it_has_one_of_its_own(stack: Stack) -> None:
    with open_vendors(load_settings(BUCKETS)) as vendors:
        assert vendors.settings.polygon_api_key is not None
        assert vendors.settings.polygon_api_key.get_secret_value() == KEY
    with open_vendors(load_settings({**BUCKETS, "polygon_api_key": "own"})) as vendors:
        assert vendors.settings.polygon_api_key is not None
        assert vendors.settings.polygon_api_key.get_secret_value() == "own"


def test_a_secret_that_is_not_there_is_told_before_anything_is_fetched(stack: Stack) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody"
    with (
        pytest.raises(LakeError, match=f"Cannot read the secret {arn}"),
        open_vendors(load_settings({**BUCKETS, "polygon_secret_arn": arn})),
    ):
        pass


def test_through_the_function_no_key_is_needed_and_the_locations_are_the_runs_own(stack: Stack) -> None:
    settings = load_settings({**BUCKETS, "ingestion": "lambda"})
    with open_vendors(settings) as vendors:
        assert isinstance(vendors, FunctionVendors)
        assert vendors.settings.polygon_api_key is None
        assert vendors.fetch_snapshot(LOCATIONS).columns["location"] == ["New York", "Santa Clara"]


def test_simulated_data_never_comes_through_the_function(stack: Stack) -> None:
    settings = load_settings({**BUCKETS, "ingestion": "lambda", "sandbox": True})
    with open_vendors(settings) as vendors:
        assert not isinstance(vendors, FunctionVendors)
