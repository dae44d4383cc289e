"""`stock-weather dashboard` and the asset `dashboard/page`: the file is written, and failure is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stock_weather_pipeline.commands.output import SIMULATED_BANNER
from stock_weather_pipeline.dashboard import PAGE_ASSET, PAGE_OBJECT
from stock_weather_pipeline.lake.layout import ViewDefinition
from stock_weather_pipeline_tests.homes import Home

START = b"<!doctype html>"


def test_it_writes_the_page_into_the_data_home_and_says_where(finished: Home) -> None:
    result = finished.invoke("dashboard")
    file = finished.data / "dashboard.html"
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [f" {SIMULATED_BANNER} ", f"Charts of NVDA: {file.as_uri()}"]
    assert file.read_bytes().startswith(START)


def test_it_writes_the_file_and_the_tickers_it_is_asked_for(finished: Home, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "charts.html"
    result = finished.invoke("dashboard", "--tickers", "NVDA", "--start", "2024-06-05", "--output", str(file))
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(START)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--tickers", "XYZ"), "There are no prices of XYZ: there are NVDA."),
        (("--tickers", "?"), "--tickers ?: '?' is not a ticker"),
        (("--start", "2024-06-05", "--end", "2024-06-04"), "--start must not be after --end"),
    ],
)
def test_a_wrong_choice_is_told(finished: Home, words: tuple[str, ...], sentence: str) -> None:
    result = finished.invoke("dashboard", *words)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_place_that_cannot_be_written_is_told(finished: Home, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    result = finished.invoke("dashboard", "--output", str(tmp_path / "a file" / "charts.html"))
    assert result.exit_code == 1
    assert "name another file with --output" in result.stderr


def test_without_data_the_page_is_written_and_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path, "http://127.0.0.1:9")
    result = home.invoke("dashboard")
    assert result.exit_code == 0, result.output
    assert "Charts of nothing yet" in result.stdout
    assert (home.data / "dashboard.html").read_bytes().startswith(START)


def test_a_failing_panel_fails_the_command_and_the_asset_after_the_page_is_written(finished: Home) -> None:
    with finished.opened() as (_, lake, _instance):
        good = lake.catalog.get_view("volatility")
        assert good is not None
        lake.catalog.put_view(ViewDefinition("volatility", "SELECT nonsense FROM stock_prices", "", ()))
        lake.objects.delete([PAGE_OBJECT])
        try:
            result = finished.invoke("dashboard")
            materialized = finished.materialize(PAGE_ASSET, first="2024-06-03", last="2024-06-07")
        finally:
            lake.catalog.put_view(good)
        assert lake.objects.read(PAGE_OBJECT).startswith(START)
    assert result.exit_code == 1
    assert "failed Daily volatility: There is no column nonsense" in result.stdout
    assert (finished.data / "dashboard.html").read_bytes().startswith(START)
    assert not materialized


def test_a_run_ends_with_the_page_of_what_it_published(finished: Home) -> None:
    from dagster import AssetKey

    assert "dashboard/page" in finished.first_output
    finished.materialize(PAGE_ASSET, first="2024-06-03", last="2024-06-07")
    with finished.opened() as (_, lake, instance):
        event = instance.get_latest_materialization_event(AssetKey(list(PAGE_ASSET)))
        page = lake.objects.read(PAGE_OBJECT)
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    assert metadata["size_bytes"].value == len(page)
    assert metadata["newest_session"].value == "2024-06-07"
    assert b'"newestSession":"2024-06-07"' in page
