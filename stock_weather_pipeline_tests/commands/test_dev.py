from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stock_weather_pipeline.commands import dev
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home


def test_dev_starts_dagster_on_this_machine_only_and_without_its_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: Sandbox
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: started.append(words))
    monkeypatch.setattr(dev, "shared_file", lambda name: Path(name))
    result = Home(tmp_path, vendor.url).invoke("dev", "--port", "3999")
    assert result.exit_code == 0, result.output
    assert "UI: http://127.0.0.1:3999" in result.stdout
    assert "schedule stock_prices_daily, 30 0 * * * America/New_York" in result.stdout
    assert "sensor gaps, every 60 s" in result.stdout
    arguments = ["-W", "ignore", "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", "3999"]
    assert started == [[sys.executable, *arguments]]
