"""Takes the pictures of the README, of the page and of the UI: `python docs/take_screenshots.py [--home DIR]`.

Needs `pip install -e '.[docs]'`, Chromium on the PATH, and a home that `stock-weather run` has filled. Serves the UI on
a free port of this machine and stops it afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, sync_playwright

from stock_weather_pipeline.partitions import sessions, today
from stock_weather_pipeline.sandbox import Sandbox

IMAGES = Path(__file__).parent / "images"
START_UP_SECONDS = 180
WINDOW: ViewportSize = {"width": 3000, "height": 2700}
PAGE_WINDOW: ViewportSize = {"width": 1280, "height": 820}
# Without the list of groups and the tool bars.
GRAPH: FloatRect = {"x": 420, "y": 120, "width": 2400, "height": 2500}


@contextmanager
def served_ui(environment: dict[str, str]) -> Iterator[str]:
    """The URL of `stock-weather dev`, on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "stock_weather_pipeline.cli", "dev", "--port", str(port)]
    server = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_UP_SECONDS
    while not _answers(f"{url}/server_info"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} did not answer within {START_UP_SECONDS} s")
        time.sleep(1)


def _answers(url: str) -> bool:
    try:
        with urlopen(url):
            return True
    except URLError:
        return False


def asset_graph(page: Page, url: str) -> None:
    """The whole graph, every group opened, one box per asset."""
    groups = ",".join(f"global@global:{group}" for group in ("raw", "catalog", "parquet", "prod", "views", "dashboard"))
    page.goto(f"{url}/asset-groups/?expanded={groups}", wait_until="networkidle")
    page.get_by_text("Hide navigation").click()
    page.wait_for_timeout(8000)
    page.screenshot(path=IMAGES / "asset-graph.png", clip=GRAPH)


def dashboard(browser: Browser, home: dict[str, str]) -> None:
    """The page, with the crosshair on a session."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        command = [sys.executable, "-m", "stock_weather_pipeline.cli", "dashboard", "--output", str(file)]
        subprocess.run(command, env={**os.environ, **home}, stdout=subprocess.DEVNULL, check=True)
        page = browser.new_page(viewport=PAGE_WINDOW, color_scheme="dark", device_scale_factor=1.5)
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        page.mouse.move(820, 330)
        page.screenshot(path=IMAGES / "dashboard.png")
        page.close()


def partial_success(page: Page, url: str) -> None:
    """The partitions of a prod table after a backfill with one bad day."""
    page.goto(f"{url}/assets/prod/stock_prices?view=partitions", wait_until="networkidle")
    page.get_by_text("Hide navigation").click()
    page.wait_for_timeout(5000)
    page.screenshot(path=IMAGES / "partial-success.png", clip={"x": 0, "y": 0, "width": 1500, "height": 760})


@contextmanager
def home_with_a_bad_day() -> Iterator[dict[str, str]]:
    """The environment of a home in which the vendor sent junk for one session of the last seven weeks."""
    days = sessions(today() - timedelta(days=50), today() - timedelta(days=1))
    with Sandbox() as vendor, TemporaryDirectory() as folder:
        vendor.faults.add("/v2/aggs", "garbage_rows", days=[str(days[len(days) // 2])])
        environment = {
            "STOCK_WEATHER_HOME": folder,
            "STOCK_WEATHER_START_DATE": str(days[0]),
            "STOCK_WEATHER_POLYGON_URL": vendor.url,
            "STOCK_WEATHER_OPEN_METEO_URL": vendor.url,
            "STOCK_WEATHER_POLYGON_CALLS_PER_MINUTE": "6000",
            "POLYGON_API_KEY": "sandbox",
        }
        command = [
            sys.executable,
            "-m",
            "stock_weather_pipeline.cli",
            "run",
            "--only",
            "stocks",
            "--start",
            str(days[0]),
        ]
        ended = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=False)
        if ended.returncode != 1:
            sys.exit(f"the run with a bad day should have failed, and ended with {ended.returncode}")
        yield environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="STOCK_WEATHER_HOME to show; default: the one of the environment")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not on the PATH.")
    IMAGES.mkdir(exist_ok=True)
    filled = {"STOCK_WEATHER_HOME": str(arguments.home)} if arguments.home else {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        dashboard(browser, filled)
        page = browser.new_page(viewport=WINDOW, device_scale_factor=0.75)
        with served_ui(filled) as url:
            asset_graph(page, url)
        page.set_viewport_size({"width": 1500, "height": 1000})
        with home_with_a_bad_day() as environment, served_ui(environment) as url:
            partial_success(page, url)
        browser.close()


if __name__ == "__main__":
    main()
