"""The README names what is there: every setting, every command, every linked file; and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from stock_weather_pipeline.cli import main
from stock_weather_pipeline.commands.tables import document
from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.views import VIEWS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_setting_is_described_and_every_described_one_exists() -> None:
    described = set(re.findall(r"STOCK_WEATHER_([A-Z_]+)", README)) | {"POLYGON_API_KEY"}
    assert described == {name.upper() for name in Settings.model_fields}
    assert "MASSIVE_API_KEY" in README


def test_every_command_is_described_and_every_described_one_exists() -> None:
    assert isinstance(main, click.Group)
    assert set(re.findall(r"^\| `stock-weather (\w+)", README, re.MULTILINE)) == set(main.commands)


def test_every_described_option_of_run_exists() -> None:
    assert isinstance(main, click.Group)
    (line,) = [line for line in README.splitlines() if line.startswith("| `stock-weather run")]
    options = {option for parameter in main.commands["run"].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z]+", line)) <= options


def test_every_table_and_view_is_named() -> None:
    for name in (*DATASETS, *VIEWS):
        assert f"`{name}`" in README


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_documented_columns_are_the_contracts() -> None:
    written = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert written == document(), "run `python -m stock_weather_pipeline.commands.tables`"


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for record in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert record.name in listed


@pytest.mark.parametrize("name", ["references_daily", "maintenance_weekly", "landing", "changes", "revisions", "gaps"])
def test_operations_describes_what_runs_by_itself(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "operations.md").read_text()
