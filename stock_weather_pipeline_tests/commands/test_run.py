from __future__ import annotations

from pathlib import Path

import pytest

from stock_weather_pipeline.lake.local_objects import LocalObjects
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home


def test_a_day_that_shrinks_is_published_only_with_force(tmp_path: Path, faulty: Sandbox) -> None:
    home = Home(tmp_path, faulty.url, extra={"STOCK_WEATHER_LOCATIONS": "New York"})
    words = ("run", "--only", "weather", "--start", "2024-06-03", "--end", "2024-06-03")
    assert home.invoke(*words).exit_code == 0
    # Four hours of the New York day are on the next day in UTC.
    faulty.faults.add("/v1/archive", "missing_days", days=["2024-06-03"])

    refused = home.invoke(*words, "--again")

    assert refused.exit_code == 1
    assert "2024-06-03: the day would shrink from 24 to 4 rows, below 80%; publish with force" in refused.stdout
    assert home.rows("SELECT count(*) AS n FROM weather") == [{"n": 24}]
    home.invoke(*words, "--again", "--force")
    assert home.rows("SELECT count(*) AS n FROM weather") == [{"n": 4}]


def test_a_wrong_key_is_in_no_output_and_no_file(tmp_path: Path) -> None:
    with Sandbox(api_key="the-right-one") as strict:
        home = Home(tmp_path, strict.url, key="a-wrong-key-1")
        result = home.invoke("run", "--only", "stocks", "--start", "2024-06-03", "--end", "2024-06-04")
        assert [call.status for call in strict.calls if "/aggs/" in call.path] == [401]
    assert result.exit_code == 1
    assert "it is wrong or expired" in result.stdout
    assert "a-wrong-key-1" not in result.output
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"a-wrong-key-1" in path.read_bytes()]


def test_the_setting_debug_shows_the_traceback_of_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: Sandbox
) -> None:
    def broken(_objects: object, _key: str) -> bool:
        raise RuntimeError("a mistake in the program")

    monkeypatch.setattr(LocalObjects, "exists", broken)
    home = Home(tmp_path, vendor.url, extra={"STOCK_WEATHER_DEBUG": "1"})
    assert isinstance(home.invoke("query", "SELECT 1 AS one").exception, RuntimeError)
