"""What the architecture promises about imports, so that the same code runs without Dagster and on other deployments."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stock_weather_pipeline

PACKAGE = Path(stock_weather_pipeline.__file__).parent
NEVER_UP = {
    "settings.py": ("datasets", "sources", "lake", "layers", "assets", "checks", "automation", "commands"),
    "datasets": ("sources", "lake", "layers", "assets", "checks", "automation", "commands"),
    "sources": ("lake", "layers", "assets", "checks", "automation", "commands", "cloud"),
    "lake": ("layers", "assets", "checks", "automation", "commands", "cloud"),
    "cloud": ("layers", "assets", "checks", "automation", "commands"),
    "layers": ("assets", "checks", "automation", "commands"),
    "assets": ("checks", "commands"),
    "checks": ("commands",),
    "sandbox": ("lake", "layers", "assets", "checks", "automation", "commands"),
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def modules(part: str) -> list[Path]:
    path = PACKAGE / part
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("part", NEVER_UP)
def test_imports_never_go_up(part: str) -> None:
    forbidden = tuple(f"stock_weather_pipeline.{upper}" for upper in NEVER_UP[part])
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules(part)
        for name in imported(path)
        if name.startswith(forbidden)
    }
    assert not wrong


@pytest.mark.parametrize("part", ["layers", "lake", "sources", "datasets", "views", "sandbox"])
def test_what_the_layers_do_is_free_of_dagster(part: str) -> None:
    wrong = {str(path) for path in modules(part) if any(name.split(".")[0] == "dagster" for name in imported(path))}
    assert not wrong


def test_aws_is_called_in_two_places_only() -> None:
    homes = (PACKAGE / "cloud", PACKAGE / "lake" / "aws")
    wrong = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not any(home in path.parents for home in homes)
        and any(name.split(".")[0] in ("boto3", "botocore", "dagster_aws") for name in imported(path))
    }
    assert not wrong


@pytest.mark.parametrize("part", ["assets", "checks", "layers", "automation", "commands", "views"])
def test_no_layer_knows_an_implementation_of_the_lake(part: str) -> None:
    concrete = {"boto3", "duckdb", "pyiceberg"}
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules(part)
        for name in imported(path)
        if name.split(".")[0] in concrete
    }
    assert not wrong


def test_only_the_tables_of_the_sources_know_arrow() -> None:
    """The function that fetches without Dagster is a small package: no table library is in it."""
    heavy = {"pyarrow", "pandas", "numpy", "dagster"}
    wrong = {path.name for path in modules("sources") if heavy & {name.split(".")[0] for name in imported(path)}}
    assert wrong == {"tables.py"}


def test_definitions_load_without_network_or_files(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('definitions must not connect')\n"
        "socket.socket.connect = refuse\n"
        "from stock_weather_pipeline.definitions import build_definitions\n"
        "from stock_weather_pipeline.settings import load_settings\n"
        "build_definitions(load_settings()).resolve_asset_graph()\n"
        "import sys\n"
        "slow = {'boto3', 'duckdb', 'exchange_calendars', 'pandas', 'plotly', 'pyarrow', 'pyiceberg', 'sqlglot'}\n"
        "assert not slow & set(sys.modules), f'every command waits for {slow & set(sys.modules)}'\n"
    )
    home = tmp_path / "home"
    environment = {"PATH": "", "HOME": str(tmp_path), "STOCK_WEATHER_HOME": str(home)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment, cwd=tmp_path)
    assert not home.exists()
