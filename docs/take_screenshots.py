"""Takes the pictures of the README from the running UI: `python docs/take_screenshots.py [--home DIR]`.

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
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import FloatRect, Page, ViewportSize, sync_playwright

IMAGES = Path(__file__).parent / "images"
START_UP_SECONDS = 180
WINDOW: ViewportSize = {"width": 2500, "height": 2350}
# Without the list of groups and the tool bars.
GRAPH: FloatRect = {"x": 400, "y": 120, "width": 1900, "height": 2210}


@contextmanager
def served_ui(home: Path | None) -> Iterator[str]:
    """The URL of `stock-weather dev`, on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **({"STOCK_WEATHER_HOME": str(home)} if home else {})}
    command = [sys.executable, "-m", "stock_weather_pipeline.cli", "dev", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    groups = ",".join(f"global@global:{group}" for group in ("raw", "catalog", "parquet", "prod", "views"))
    page.goto(f"{url}/asset-groups/?expanded={groups}", wait_until="networkidle")
    page.get_by_text("Hide navigation").click()
    page.wait_for_timeout(8000)
    page.screenshot(path=IMAGES / "asset-graph.png", clip=GRAPH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="STOCK_WEATHER_HOME to show; default: the one of the environment")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is not on the PATH.")
    IMAGES.mkdir(exist_ok=True)
    with served_ui(arguments.home) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=WINDOW, device_scale_factor=0.75)
        asset_graph(page, url)
        browser.close()


if __name__ == "__main__":
    main()
