"""The committed stack on an emulated account beside a folder: what is done to both is to leave the same tables.

No test belongs here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3

from infra import deploy
from infra.aws import Account
from infra.emulation import EmulatedAws
from infra.emulation.deployed import STACK, deployed_stack
from stock_weather_pipeline.datasets import PARTITIONED
from stock_weather_pipeline.definitions import build_definitions
from stock_weather_pipeline.lake.aws import opening
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.automation.ticking import Ticker
from stock_weather_pipeline_tests.homes import Home

# An emulated query is done at once.
POLL_S = 0.02


@dataclass
class Deployed:
    """`cloud` works on the stack and has no key of its own: it is in the account's Secrets Manager."""

    aws: EmulatedAws
    account: Account
    vendors: Sandbox
    cloud: Home
    local: Home
    _alert_cursor: str | None = field(default=None, init=False)

    def both_run(self, *words: str) -> None:
        """`stock-weather run` of the same days on both."""
        for home in (self.local, self.cloud):
            result = home.invoke("run", *words)
            assert result.exit_code == 0, result.output

    def differences(self) -> dict[str, str]:
        """The tables and views, of any layer, that differ between the two, with their first differing row."""
        cloud, local = (everything(home) for home in (self.cloud, self.local))
        assert cloud.keys() == local.keys()
        return {
            name: f"on AWS {next(iter(only_there), None)}, on the folder {next(iter(only_here), None)}"
            for name in cloud
            if cloud[name] != local[name]
            for only_there, only_here in [
                (sorted(set(cloud[name]) - set(local[name])), sorted(set(local[name]) - set(cloud[name])))
            ]
        }

    def tick_alerts(self) -> None:
        """What the daemon does every minute with the sensor of failed runs."""
        with self.cloud.opened() as (settings, _, instance):
            sensor = Ticker(settings, "run_alerts", instance, build_definitions(settings))
            sensor.cursor = self._alert_cursor
            sensor.tick()
            self._alert_cursor = sensor.cursor


def glue_job(aws: EmulatedAws, name: str, first: str, last: str) -> Any:
    """The finished run of one of the stack's jobs."""
    arguments = {"--start": first, "--end": last}
    run = boto3.client("glue").start_job_run(JobName=f"{STACK}-{name}", Arguments=arguments)["JobRunId"]
    aws.settle()
    return aws.glue_jobs.job_runs[run]


def everything(home: Home) -> dict[str, list[str]]:
    """Every row of every table and view of every layer, as text, sorted."""
    found = home.tables()
    for dataset in PARTITIONED:
        for layer in Layer:
            name = external_table(dataset, layer).qualified_name
            found[name] = sorted(json.dumps(row, default=str) for row in home.rows(f"SELECT * FROM {name}"))
    return found


@contextmanager
def deployed_beside_a_folder(folder: Path) -> Iterator[Deployed]:
    """Both empty, fed by the same sandbox."""
    (folder / "local").mkdir()
    (folder / "cloud").mkdir()
    with (
        Sandbox() as vendors,
        deployed_stack(vendors.url, folder) as (aws, account),
        patch.object(opening, "aws_lake", partial(opening.aws_lake, poll_s=POLL_S)),
    ):
        settings = dict(line.split("=", 1) for line in deploy.settings_lines(account, STACK))
        cloud = Home(folder / "cloud", vendors.url, key="", extra={**settings, **aws.environment})
        yield Deployed(aws, account, vendors, cloud, Home(folder / "local", vendors.url))
