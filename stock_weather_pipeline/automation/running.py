"""Carries out work through Dagster in this process, with progress, and says what came of it.

The same definitions and the same instance as the UI: what is run here is seen there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from stock_weather_pipeline.automation.work import Key, Work, all_work, asset_keys, missing_work
from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.partitions import today
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterInstance, Definitions

StepDone = Callable[[int, int, str], None]
"""Called as (steps done, steps planned, step just finished)."""


@dataclass
class Outcome:
    """What running came to: run ids by success, and one sentence per failed step."""

    succeeded: list[str] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        return len(self.succeeded) + len(self.failed)


@dataclass(frozen=True)
class Runner:
    """Runs assets of the definitions on an instance."""

    definitions: Definitions
    instance: DagsterInstance
    lake: Lake
    settings: Settings
    step_done: StepDone

    def refresh_references(self, outcome: Outcome, names: Sequence[str], again: bool) -> None:
        """Materialize the datasets without partitions that are not of today yet, or all of them."""
        stale = [name for name in names if again or not self._is_of_today(name)]
        chain: list[Key] = [(layer, name) for name in stale for layer in ("raw", "prod")]
        if chain:
            self._run(outcome, chain, {}, {})

    def complete(
        self, outcome: Outcome, dataset: Dataset, days: Sequence[date], entities: Sequence[str] | None, force: bool
    ) -> None:
        """Run until every day is complete or was tried from where it stopped.

        A failed step ends its run; the days that were good so far are carried on by the next round.
        """
        attempted: set[tuple[date, Key]] = set()
        failures = -1
        while len(outcome.failed) > failures:
            failures = len(outcome.failed)
            work = missing_work(self.instance, self.lake, dataset, days, entities, attempted)
            for item in work:
                attempted.update((day, item.chain[0]) for day in item.days)
                self._run_work(outcome, item, force)

    def repeat(self, outcome: Outcome, dataset: Dataset, days: Sequence[date], force: bool) -> None:
        """Fetch and materialize every day again, then complete what a failed run left open."""
        for item in all_work(dataset, days):
            self._run_work(outcome, item, force)

    def _run_work(self, outcome: Outcome, item: Work, force: bool) -> None:
        ops: dict[str, Any] = {}
        if item.entities and item.chain[0][0] == "raw":
            ops[f"raw__{item.dataset.name}"] = {"config": {"entities": list(item.entities)}}
        if force and ("prod", item.dataset.name) in item.chain:
            ops[f"prod__{item.dataset.name}"] = {"config": {"force": True}}
        self._run(outcome, item.chain, item.tags, ops)

    def _run(self, outcome: Outcome, chain: Sequence[Key], tags: Mapping[str, str], ops: Mapping[str, Any]) -> None:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        run_id = str(uuid4())
        listener = _Listener(self.step_done)
        self.instance.add_event_listener(run_id, listener)
        result = job.execute_in_process(
            run_config={"ops": dict(ops), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=self.instance,
            asset_selection=asset_keys(chain),
            run_id=run_id,
            tags={"stock_weather/started_by": "command line", **tags},
            raise_on_error=False,
        )
        if result.success:
            outcome.succeeded.append(run_id)
        else:
            outcome.failed[run_id] = listener.failures or ["the run failed before its first step"]

    def _is_of_today(self, name: str) -> bool:
        from datetime import datetime, timezone

        from dagster import AssetKey

        if DATASETS[name].partition_set is not None:
            raise ValueError(f"{name} has partitions")
        event = self.instance.get_latest_materialization_event(AssetKey(["prod", name]))
        return event is not None and today(datetime.fromtimestamp(event.timestamp, timezone.utc)) == today()


class _Listener:
    """Follows one run's events: counts its steps, keeps the sentence of each failed one."""

    def __init__(self, step_done: StepDone) -> None:
        self._step_done = step_done
        self._planned = 0
        self._done = 0
        self.failures: list[str] = []

    def __call__(self, entry: Any) -> None:
        event: DagsterEvent | None = entry.dagster_event
        if event is None:
            return
        if event.is_step_start:
            self._planned = max(self._planned, self._done + 1)
        if event.is_step_success or event.is_step_failure:
            self._done += 1
            self._step_done(self._done, self._planned, str(event.step_key))
        if event.is_step_failure:
            self.failures.append(_sentence(event))


def _sentence(event: DagsterEvent) -> str:
    data = event.step_failure_data
    step = str(event.step_key).replace("__", "/")
    if data.user_failure_data is not None and data.user_failure_data.description:
        return f"{step}: {data.user_failure_data.description}"
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{step}: {error.message.strip() if error is not None else 'failed'}"
