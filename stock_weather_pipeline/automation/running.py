"""Carries out work through Dagster in this process, told to a watcher, and says what came of it.

The same definitions and the same instance as the UI: what is run here is seen there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from stock_weather_pipeline.automation.instance import PROCESS_TAG, this_process
from stock_weather_pipeline.automation.work import Key, Work, all_work, asset_keys, chain_of, missing_work
from stock_weather_pipeline.dashboard import PAGE_ASSET
from stock_weather_pipeline.datasets import DATASETS, Dataset
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.partitions import today

if TYPE_CHECKING:
    from dagster import DagsterEvent, DagsterInstance, Definitions


class Watcher(Protocol):
    """Is told what a Runner does, so that somebody can see it."""

    def fetching(self, work: Work) -> None:
        """A run that asks the vendor is about to start."""
        ...

    def started(self, what: str, steps: int) -> None:
        """A run of so many steps has started."""
        ...

    def step_done(self, step: str) -> None:
        """A step of the run ended, well or not."""
        ...


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
    """Runs assets of the definitions on an instance. Raises KeyboardInterrupt when a run is interrupted."""

    definitions: Definitions
    instance: DagsterInstance
    lake: Lake
    watcher: Watcher

    def refresh_references(self, outcome: Outcome, names: Sequence[str], again: bool) -> None:
        """Materialize the datasets without partitions that are not of today yet, or all of them."""
        stale = [name for name in names if again or not self._is_of_today(name)]
        chain: list[Key] = [(layer, name) for name in stale for layer in ("raw", "prod")]
        if chain:
            ops = {f"raw__{name}": {"config": {"retry": False}} for name in stale}
            self._run(outcome, ", ".join(stale), chain, {}, ops)

    def complete(
        self,
        outcome: Outcome,
        dataset: Dataset,
        days: Sequence[date],
        entities: Sequence[str] | None,
        *,
        again: bool,
        force: bool,
    ) -> None:
        """Run until every day is complete or was tried from where it stopped; `again` begins with all of them.

        A failed step ends its run; the days that were good so far are carried on by the next round. A day that its
        audit held back is not fetched anew here: the next command or sensor does that, once somebody could see it.
        """
        chain = chain_of(dataset)
        attempted: set[tuple[date, Key]] = set()
        work = all_work(dataset, days) if again else self._missing(dataset, days, entities, attempted)
        while work:
            failures = len(outcome.failed)
            for item in work:
                start = len(chain) - len(item.chain)
                attempted.update((day, key) for day in item.days for key in chain[: start + 1])
                self._run_work(outcome, item, force)
            went_wrong = len(outcome.failed) > failures
            work = self._missing(dataset, days, entities, attempted) if went_wrong else []

    def refresh_page(self, outcome: Outcome) -> None:
        """Write the page with the charts of what is published now."""
        self._run(outcome, "/".join(PAGE_ASSET), [PAGE_ASSET], {}, {})

    def _missing(
        self,
        dataset: Dataset,
        days: Sequence[date],
        entities: Sequence[str] | None,
        attempted: set[tuple[date, Key]],
    ) -> list[Work]:
        return missing_work(self.instance, self.lake, dataset, days, entities, attempted)

    def _run_work(self, outcome: Outcome, item: Work, force: bool) -> None:
        ops: dict[str, Any] = {}
        if item.chain[0][0] == "raw":
            self.watcher.fetching(item)
            # Somebody waits, and can run again.
            ops[f"raw__{item.dataset.name}"] = {"config": {"entities": list(item.entities or ()), "retry": False}}
        if force and ("prod", item.dataset.name) in item.chain:
            ops[f"prod__{item.dataset.name}"] = {"config": {"force": True}}
        self._run(outcome, item.described, item.chain, item.tags, ops)

    def _run(
        self, outcome: Outcome, what: str, chain: Sequence[Key], tags: Mapping[str, str], ops: Mapping[str, Any]
    ) -> None:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        run_id = str(uuid4())
        listener = _Listener(self.instance, self.watcher, what)
        self.instance.add_event_listener(run_id, listener)
        result = job.execute_in_process(
            run_config={"ops": dict(ops), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=self.instance,
            asset_selection=asset_keys(chain),
            run_id=run_id,
            tags={"stock_weather/started_by": "command line", PROCESS_TAG: this_process(), **tags},
            raise_on_error=False,
        )
        if listener.interrupted:
            # Dagster records an interrupted run as failed and returns; the user wanted everything to stop.
            raise KeyboardInterrupt
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
    """Follows one run's events: tells the watcher, keeps the sentence of each failed step."""

    def __init__(self, instance: DagsterInstance, watcher: Watcher, what: str) -> None:
        self._instance = instance
        self._watcher = watcher
        self._what = what
        self.failures: list[str] = []
        self.interrupted = False

    def __call__(self, entry: Any) -> None:
        from dagster import DagsterEventType

        event: DagsterEvent | None = entry.dagster_event
        if event is None:
            return
        if event.event_type is DagsterEventType.RUN_START:
            run = self._instance.get_run_by_id(entry.run_id)
            self._watcher.started(self._what, len(run.step_keys_to_execute or ()) if run else 0)
        if event.is_step_success or event.is_step_failure:
            self._watcher.step_done(str(event.step_key).replace("__", "/"))
        if event.is_step_failure:
            self.interrupted = self.interrupted or _is_interrupt(event)
            self.failures.append(failure_sentence(event))
        elif event.event_type is DagsterEventType.RUN_FAILURE and not self.failures and event.job_failure_data.error:
            # Failed outside of any step: while resources were made, or interrupted between two steps.
            error = event.job_failure_data.error
            self.interrupted = self.interrupted or error.cls_name in _INTERRUPTS
            self.failures.append(f"{error.cls_name}: {_first_line(error.message)}")


_INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")


def _is_interrupt(event: DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return error is not None and error.cls_name in _INTERRUPTS


def failure_sentence(event: DagsterEvent) -> str:
    data = event.step_failure_data
    step = str(event.step_key).replace("__", "/")
    if data.user_failure_data is not None and data.user_failure_data.description:
        return f"{step}: {data.user_failure_data.description}"
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{step}: unexpected {_first_line(error.message)}" if error is not None else f"{step}: failed"


def is_permanent(event: DagsterEvent) -> bool:
    """Whether a failed step says that it never heals by itself."""
    from stock_weather_pipeline.assets.reporting import PERMANENT

    told = event.step_failure_data.user_failure_data
    return told is not None and PERMANENT in told.metadata


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
