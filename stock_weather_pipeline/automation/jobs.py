"""The jobs that schedules and sensors start: which assets belong together in one run.

A job never mixes sessions and calendar days. A run may select fewer assets of its job; a range stands in its tags.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Any

from stock_weather_pipeline.automation.work import Key, Work, asset_keys, chain_of
from stock_weather_pipeline.dashboard import PAGE_ASSET
from stock_weather_pipeline.datasets import DATASETS, PARTITIONED, Dataset
from stock_weather_pipeline.partitions import last_closed_day
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import RunRequest
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

DATASET_TAG = "stock_weather/dataset"
STARTED_BY_TAG = "stock_weather/started_by"
ATTEMPT_TAG = "stock_weather/attempt"
ENTITIES_TAG = "stock_weather/entities"

REFERENCES_JOB = "references"


def raw_job(dataset: Dataset) -> str:
    return f"{dataset.name}_raw"


def landing_job(dataset: Dataset) -> str:
    return f"{dataset.name}_landing"


JOB_ASSETS: dict[str, tuple[Key, ...]] = {
    **{dataset.name: (*chain_of(dataset), PAGE_ASSET) for dataset in PARTITIONED},
    **{raw_job(dataset): (("raw", dataset.name),) for dataset in PARTITIONED},
    **{landing_job(dataset): (("landing", dataset.name),) for dataset in PARTITIONED},
    REFERENCES_JOB: tuple(
        (layer, name)
        for name, dataset in DATASETS.items()
        if dataset.partition_set is None
        for layer in ("raw", "prod")
    ),
}
"""The assets of every job, by its name."""

_DESCRIPTIONS = {
    REFERENCES_JOB: "What has no partitions: stock splits and the configured locations, from raw to prod.",
    **{
        dataset.name: f"{dataset.name} of a range of days, from raw to the views and the page."
        for dataset in PARTITIONED
    },
    **{raw_job(dataset): f"Fetches a range of days of {dataset.name} again, raw only." for dataset in PARTITIONED},
    **{landing_job(dataset): f"Takes what arrived in the landing zone of {dataset.name}." for dataset in PARTITIONED},
}


def all_jobs(_settings: Settings) -> list[UnresolvedAssetJobDefinition]:
    """Every job, with the checks of its assets."""
    return [job(name) for name in JOB_ASSETS]


@cache
def job(name: str) -> UnresolvedAssetJobDefinition:
    """One job. Dagster wants the same object wherever a job is named."""
    import dagster as dg

    selection = dg.AssetSelection.assets(*asset_keys(JOB_ASSETS[name]))
    return dg.define_asset_job(name, selection=selection, description=_DESCRIPTIONS[name])


def work_request(work: Work, settings: Settings, started_by: str, attempt: int, content: str) -> RunRequest:
    """One ranged run of the dataset's job. `content` tells apart requests for one range that are not the same work.

    Raises ValueError for a day without a partition: Dagster would fail the whole tick for it.
    """
    import dagster as dg

    dataset = work.dataset
    _check_partitions(dataset, work.days, settings.start_date)
    raw_only = work.chain == (("raw", dataset.name),)
    tags = {
        **work.tags,
        DATASET_TAG: dataset.name,
        STARTED_BY_TAG: started_by,
        ATTEMPT_TAG: str(attempt),
        **({ENTITIES_TAG: entities_text(work.entities)} if work.entities else {}),
    }
    config: dict[str, Any] = {"ops": {f"raw__{dataset.name}": {"config": {"entities": list(work.entities or [])}}}}
    whole = raw_only or work.chain == chain_of(dataset)
    return dg.RunRequest(
        run_key=f"{started_by}/{dataset.name}/{work.days[0]}..{work.days[-1]}/{'/'.join(work.chain[0])}/{content}",
        job_name=raw_job(dataset) if raw_only else dataset.name,
        asset_selection=None if whole else asset_keys((*work.chain, PAGE_ASSET)),
        run_config=config if work.entities and work.chain[0][0] == "raw" else {},
        tags=tags,
    )


def entities_text(entities: Iterable[str]) -> str:
    """Tickers or locations as a tag's value, which Dagster does not limit in length."""
    return ",".join(entities)


def _check_partitions(dataset: Dataset, days: Iterable[date], start: date) -> None:
    assert dataset.partition_set is not None
    closed = last_closed_day(dataset.partition_set)
    for day in days:
        if not (start <= day <= closed and dataset.partition_set.contains(day)):
            raise ValueError(f"{dataset.name} has no partition {day}")
