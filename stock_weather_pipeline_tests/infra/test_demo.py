"""`python -m infra demo` from a folder and an environment that are somebody's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import package


@pytest.mark.timeout(600)
def test_the_demo_uses_nothing_of_the_user(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STOCK_WEATHER_TICKERS=AMD\nPOLYGON_API_KEY=from-the-file\n")
    own = {
        "AWS_PROFILE": "nobody",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "POLYGON_API_KEY": "my-own-key",
        "STOCK_WEATHER_HOME": str(tmp_path / "home"),
        "STOCK_WEATHER_TICKERS": "MSFT",
        "PYTHONPATH": str(package.ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "infra", "demo", "--days", "3"],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=590,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resources found at their services" in done.stdout
    assert "NVDA" in done.stdout
    assert not {"AMD", "MSFT"} & set(done.stdout.split())
    assert "Calls to AWS: athena " in done.stdout
    assert "views/moving_averages" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env"]


def test_without_the_emulator_the_demo_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['moto'] = None; from infra.__main__ import main; main(['demo'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=package.ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: The emulated account needs moto: run `make aws-demo`, which installs it.\n"
