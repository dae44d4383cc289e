"""Glue job: what the crawler sees in the raw files is compared with the contracts, column by column; nothing changes.

`check_quality` does the same among its checks; this is for looking at drift alone.
"""

from __future__ import annotations

from stock_weather_pipeline.cloud import drift
from stock_weather_pipeline.cloud.jobs import Step, run_step
from stock_weather_pipeline.lake.aws.session import AwsSession


def report_drift(step: Step) -> None:
    found = drift.drift(drift.crawled_tables(AwsSession()))
    for dataset in step.datasets:
        differences = found.get(dataset.name, [])
        step.report[dataset.name] = differences
        step.problems += differences


if __name__ == "__main__":
    run_step("drift", report_drift)
