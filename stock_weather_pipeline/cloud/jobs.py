"""What a step needs that is started as a Glue job: its arguments, the lake, somewhere to report, one sentence to fail.

The steps themselves are the scripts of `infra/glue`; what they do is the layers'. They run on any machine as well:
`python infra/glue/create_parquet.py --start 2024-06-03 --end 2024-06-07`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from stock_weather_pipeline.datasets import DATASETS, PARTITIONED, Dataset
from stock_weather_pipeline.errors import PipelineError, UsageError
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, day_of_key, external_table
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import PartitionSet, last_closed_day, requested_days
from stock_weather_pipeline.settings import Settings, load_settings

_SETTING = "--STOCK_WEATHER_"
# Vendors revise a week of weather; what is older is asked for with --start.
_DAYS_BY_DEFAULT = 10


@dataclass
class Step:
    """One run of one step. `report` says what was done, by dataset; `problems` end the job as failed."""

    settings: Settings
    lake: Lake
    run_id: str
    log: logging.Logger
    first: date
    last: date
    datasets: tuple[Dataset, ...]
    report: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def days(self, dataset: Dataset) -> list[date]:
        """The days of the range of which there is a raw file."""
        held = {day_of_key(item.key) for item in self.lake.objects.list(external_table(dataset, Layer.RAW).prefix)}
        assert dataset.partition_set is not None
        return [day for day in dataset.partition_set.days(self.first, self.last) if day in held]


def run_step(name: str, work: Callable[[Step], None], arguments: Sequence[str] | None = None) -> None:
    """Run a step with the arguments of the command line; ends the process with a sentence when it failed.

    A good end returns: Glue takes any SystemExit for a failure.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        with _reported(words) as (log, run_id, tell):
            step = _step(name, words, log, run_id)
            work(step)
            tell(step.report)
            log.info("%s: %s", name, step.report)
            if step.problems:
                raise PipelineError("; ".join(step.problems))
    except PipelineError as error:
        sys.exit(f"{name}: {error}")


def _step(name: str, words: Sequence[str], log: logging.Logger, run_id: str) -> Step:
    parser = argparse.ArgumentParser(prog=name, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--start", type=date.fromisoformat)
    parser.add_argument("--end", type=date.fromisoformat)
    parser.add_argument("--dataset", choices=[dataset.name for dataset in PARTITIONED])
    try:
        # What Glue adds of its own is not ours to judge.
        chosen, _ = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(f"{error}: --start and --end are days such as 2024-06-03.") from None
    os.environ.update(_settings_among(words))
    settings = load_settings()
    last = chosen.end or last_closed_day(PartitionSet.DAYS)
    first = chosen.start or max(settings.start_date, last - timedelta(days=_DAYS_BY_DEFAULT - 1))
    requested_days(PartitionSet.DAYS, first, last, settings.start_date)
    datasets = (DATASETS[chosen.dataset],) if chosen.dataset else PARTITIONED
    return Step(settings, open_lake(settings), run_id, log, first, last, datasets)


def _settings_among(words: Sequence[str]) -> dict[str, str]:
    """Settings given as `--STOCK_WEATHER_X value`: a Glue job has arguments and no environment."""
    pairs = pairwise(words)
    return {word.removeprefix("--"): value for word, value in pairs if word.startswith(_SETTING)}


@contextmanager
def _reported(words: Sequence[str]) -> Iterator[tuple[logging.Logger, str, Callable[[dict[str, Any]], None]]]:
    """Where to log, the id of the run, and whom to tell the report: the run that started the job, or nobody."""
    from dagster_pipes import (
        DAGSTER_PIPES_CLI_PARSER,
        PipesContext,
        PipesDefaultContextLoader,
        PipesMappingParamsLoader,
        PipesS3ContextLoader,
        PipesS3MessageWriter,
    )

    given, _ = DAGSTER_PIPES_CLI_PARSER.parse_known_args(words)
    if given.dagster_pipes_context is None:
        # Glue names its run; elsewhere the process has to do.
        named = dict(pairwise(words))
        yield logging.getLogger(__name__), named.get("--JOB_RUN_ID", f"process-{os.getpid()}"), lambda _report: None
        return
    loader = PipesMappingParamsLoader(
        {
            "DAGSTER_PIPES_CONTEXT": given.dagster_pipes_context,
            "DAGSTER_PIPES_MESSAGES": given.dagster_pipes_messages,
        }
    )
    s3 = AwsSession().s3
    in_a_bucket = "bucket" in loader.load_context_params()
    context = PipesS3ContextLoader(s3) if in_a_bucket else PipesDefaultContextLoader()
    with PipesContext(loader, context, PipesS3MessageWriter(s3)) as pipes:
        yield pipes.log, pipes.run_id, pipes.report_custom_message
