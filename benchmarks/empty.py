"""Dagster's own cost: assets that do nothing, as many as the project has, in as many runs, on either event log.

`python -m benchmarks.empty STORAGE FOLDER FIRST LAST` runs them for a range of days from a cold process; STORAGE is
`batched` (this project's) or `stock` (Dagster's default).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from stock_weather_pipeline.automation.jobs import JOB_ASSETS, REFERENCES_JOB
from stock_weather_pipeline.datasets import STOCK_PRICES, WEATHER
from stock_weather_pipeline.partitions import partitions_definition, requested_days

JOBS = (REFERENCES_JOB, WEATHER.name, STOCK_PRICES.name)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def instance_config(storage: str, folder: Path) -> dict[str, Any]:
    """Overrides of an instance on disk."""
    config: dict[str, Any] = {"telemetry": {"enabled": False}}
    if storage == "batched":
        config["event_log_storage"] = {
            "module": "stock_weather_pipeline.automation.event_log",
            "class": "BatchedSqliteEventLogStorage",
            "config": {"base_dir": str(folder / "events")},
        }
    return config


def assets(
    keys: Iterable[tuple[str, str]], partitions: dg.PartitionsDefinition[str] | None
) -> list[dg.AssetsDefinition]:
    """A chain of assets that do nothing."""
    made: list[dg.AssetsDefinition] = []
    for key in keys:

        @dg.asset(
            key=list(key),
            deps=[made[-1]] if made else [],
            partitions_def=partitions,
            backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
        )
        def nothing() -> dg.MaterializeResult[Any]:
            return dg.MaterializeResult()

        made.append(nothing)
    return made


def run(storage: str, folder: Path, first: date, last: date) -> float:
    """Three runs, as a night has: what has no partitions, the calendar days, the sessions. Returns their seconds."""
    folder.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(folder), instance_config(storage, folder)) as instance:
        start = time.perf_counter()
        for name in JOBS:
            dataset = {one.name: one for one in (WEATHER, STOCK_PRICES)}.get(name)
            partition_set = dataset.partition_set if dataset else None
            partitions = partitions_definition(partition_set, first) if partition_set else None
            tags = {}
            if partition_set:
                days = requested_days(partition_set, first, last, first)
                tags = {
                    "dagster/asset_partition_range_start": str(days[0]),
                    "dagster/asset_partition_range_end": str(days[-1]),
                }
            job = dg.Definitions(assets=assets(JOB_ASSETS[name], partitions)).resolve_implicit_global_asset_job_def()
            job.execute_in_process(instance=instance, tags=tags, run_config=QUIET)
        return time.perf_counter() - start


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, where, start_day, end_day = sys.argv[1:]
    took = run(kind, Path(where), date.fromisoformat(start_day), date.fromisoformat(end_day))
    print(json.dumps({"bookkeeping": took}))  # noqa: T201 - read by the parent
