"""Sensors that find problems and recoveries: failed runs, failed checks, stale tables.

They read the instance only and start nothing. Plain sensors, not `run_failure_sensor`: that one does not see runs of
the command line, and forgets a failure whose handling failed. What is told, and where to, is `automation.alerts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES, RunRecord
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from stock_weather_pipeline.automation.alerts import (
    Alert,
    close_alert,
    deliver_pending,
    named_days,
    open_alert,
    open_problems,
)
from stock_weather_pipeline.automation.running import failure_sentence
from stock_weather_pipeline.automation.work import LAYERS
from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.opening import open_lake
from stock_weather_pipeline.partitions import PartitionSet
from stock_weather_pipeline.settings import Settings
from stock_weather_pipeline.views import VIEWS

STALENESS_CHECK = "latest_day_present"

_INTERVAL_S = 60
# What one tick looks at; the cursor takes the next tick on from there.
_RUNS = 50
_EVALUATIONS = 50
# Another process' update may become visible after a later one; what is seen twice changes nothing.
_OVERLAP = timedelta(seconds=10)
_LONGEST_TEXT = 2000


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors of alerts, running unless switched off in the UI."""

    @dg.sensor(
        name="run_alerts",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts on failed runs of every job, once for each problem, and on their recovery.",
    )
    def run_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        lake = open_lake(settings)
        waiting = deliver_pending(settings, lake)
        opened, cursor = _alert_on_runs(settings, lake, context.instance, context.cursor)
        closed = _recover_runs(settings, lake, context.instance)
        # Only now: a tick that fails in between is done again, and finds its alerts open.
        context.update_cursor(cursor)
        return _told(opened, closed, waiting)

    @dg.sensor(
        name="check_alerts",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts on failed checks and stale tables, once for each problem, and on their recovery.",
    )
    def check_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        assert context.repository_def is not None
        lake = open_lake(settings)
        waiting = deliver_pending(settings, lake)
        keys = context.repository_def.asset_graph.asset_check_keys
        opened, closed, cursor = _alert_on_checks(settings, lake, context.instance, keys, context.cursor)
        context.update_cursor(cursor)
        return _told(opened, closed, waiting)

    return [run_alerts, check_alerts]


def _told(opened: int, closed: int, waiting: int) -> dg.SkipReason:
    undelivered = f", {waiting} notices wait for a sink" if waiting else ""
    return dg.SkipReason(f"{opened} new problems, {closed} recoveries{undelivered}.")


# Runs


def _alert_on_runs(settings: Settings, lake: Lake, instance: dg.DagsterInstance, cursor: str | None) -> tuple[int, str]:
    """Open the problems of runs that failed since the cursor, a time; (how many are new, next cursor)."""
    after = datetime.fromisoformat(cursor) if cursor else datetime.fromtimestamp(0, timezone.utc)
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after),
        limit=_RUNS,
        order_by="update_timestamp",
        ascending=True,
    )
    opened = 0
    for record in records:
        for alert in _run_problems(lake, instance, record):
            opened += open_alert(settings, lake, alert)
    if records:
        newest = records[-1].update_timestamp
        after = max(after, newest if len(records) == _RUNS else newest - _OVERLAP)
    return opened, after.isoformat()


def _run_problems(lake: Lake, instance: dg.DagsterInstance, record: RunRecord) -> Iterable[Alert]:
    """What is wrong since this run, and was neither healed nor told since: one alert for each dataset."""
    run = record.dagster_run
    failed = dg.DagsterEventType.STEP_FAILURE
    steps: dict[str, str] = {}
    for entry in instance.all_logs(run.run_id, of_type={failed}):
        if entry.dagster_event is not None:
            steps[str(entry.dagster_event.step_key)] = failure_sentence(entry.dagster_event)
    by_subject: dict[str, dict[str, str]] = {}
    for step, sentence in steps.items():
        by_subject.setdefault(_subject(step), {})[step] = sentence
    if not steps:
        by_subject[f"job/{run.job_name}"] = {"": _failure_before_steps(instance, run.run_id)}
    for subject, sentences in by_subject.items():
        days = _days_of_run(run.tags, _partition_set(sentences))
        if days and not subject.startswith(("checks/", "job/")):
            days = sorted(_unhealthy(instance, [_asset_of_step(step) for step in sentences], days))
            days = [day for day in days if day not in _told_days(lake, subject)]
            healed = not days
        else:
            healed = _healed_since(instance, subject, _ended_at(record))
        if not healed:
            yield _run_alert(subject, days, sentences.values(), run.run_id, _partition_set(sentences))


def _run_alert(
    subject: str, days: Sequence[date], sentences: Iterable[str], run_id: str, partition_set: PartitionSet | None
) -> Alert:
    when = named_days(days, partition_set) if days else ""
    title = f"{subject}: {len(days)} days failed" if len(days) > 1 else f"{subject}: {when or 'the run'} failed"
    dataset = subject.rpartition("/")[2]
    return Alert(
        problem=f"run:{subject}:{when}",
        title=title,
        text="; ".join(sentences)[:_LONGEST_TEXT],
        days=tuple(days),
        run_id=run_id,
        dataset=dataset if dataset in DATASETS else None,
    )


def _failure_before_steps(instance: dg.DagsterInstance, run_id: str) -> str:
    for entry in instance.all_logs(run_id, of_type={dg.DagsterEventType.RUN_FAILURE}):
        event = entry.dagster_event
        if event is not None and event.job_failure_data.error is not None:
            return event.job_failure_data.error.message.strip().partition("\n")[0]
        if event is not None and event.message:
            return event.message
    return "the run failed before its first step"


def _recover_runs(settings: Settings, lake: Lake, instance: dg.DagsterInstance) -> int:
    """Close the problems of runs, and of datasets by other sensors, that have healed; how many."""
    closed = 0
    for problem, held in open_problems(lake).items():
        alert = held.alert
        kind, _, rest = problem.partition(":")
        subject = rest.partition(":")[0] if kind == "run" else alert.dataset
        if kind == "check" or subject is None:
            continue
        if alert.days and not subject.startswith(("checks/", "job/")):
            healed = not _unhealthy(instance, _assets(subject), alert.days)
        else:
            record = instance.get_run_record_by_id(alert.run_id) if alert.run_id else None
            healed = _healed_since(instance, subject, _ended_at(record) if record else held.opened_at.timestamp())
        if healed:
            what = "The days are materialized" if alert.days else "A later run succeeded"
            closed += close_alert(settings, lake, problem, f"{what}.")
    return closed


def _unhealthy(instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey], days: Sequence[date]) -> set[date]:
    """The days of which the latest attempt on any of the assets has not succeeded."""
    return set(days).intersection(_attempts_in_vain(instance, assets))


def _attempts_in_vain(instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey]) -> dict[date, str]:
    """The run of the latest attempt on a day that has not materialized it, or not yet, on any of the assets."""
    log = instance.event_log_storage
    return {
        date.fromisoformat(text): run_id
        for key in assets
        for text, (run_id, _) in log.get_latest_asset_partition_materialization_attempts_without_materializations(
            key
        ).items()
    }


def _has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def _healed_since(instance: dg.DagsterInstance, subject: str, since: float) -> bool:
    """Whether what has no days has succeeded after a time, in seconds since 1970."""
    kind, _, rest = subject.partition("/")
    if kind == "job":
        after = datetime.fromtimestamp(since, timezone.utc)
        done = dg.RunsFilter(job_name=rest, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=after)
        return bool(instance.get_run_records(done, limit=1))
    if kind == "checks":
        asset = dg.AssetKey(rest.split("/"))
        done = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=datetime.fromtimestamp(since, timezone.utc)
        )
        return any(
            any(check.asset_key == asset for check in record.dagster_run.asset_check_selection or ())
            or asset in (record.dagster_run.asset_selection or ())
            for record in instance.get_run_records(done, limit=_RUNS)
        )
    events = [instance.get_latest_materialization_event(key) for key in _assets(subject)[-1:]]
    return all(event is not None and event.timestamp > since for event in events)


def _told_days(lake: Lake, subject: str) -> set[date]:
    prefix = f"run:{subject}:"
    held = open_problems(lake)
    return {day for problem in held if problem.startswith(prefix) for day in held[problem].alert.days}


def _subject(step: str) -> str:
    """What a step's failure is a problem of: a dataset, the views, an asset, or the checks of an asset."""
    layer, _, name = step.partition("__")
    if name.endswith("__checks"):
        return f"checks/{layer}/{name.removesuffix('__checks')}"
    if layer in LAYERS and name in DATASETS:
        return name
    return "views" if layer == "views" else "/".join(_asset_of_step(step).path)


def _asset_of_step(step: str) -> dg.AssetKey:
    return dg.AssetKey(step.removesuffix("__checks").split("__"))


def _assets(subject: str) -> list[dg.AssetKey]:
    """The assets of a subject, the last stage last."""
    if subject in DATASETS:
        return [dg.AssetKey([layer, subject]) for layer in LAYERS]
    if subject == "views":
        return [dg.AssetKey(["views", name]) for name in VIEWS]
    return [dg.AssetKey(subject.split("/"))]


def _partition_set(steps: Iterable[str]) -> PartitionSet | None:
    for step in steps:
        layer, _, name = step.removesuffix("__checks").partition("__")
        if layer == "views" and name in VIEWS:
            return VIEWS[name].partition_set
        if name in DATASETS:
            return DATASETS[name].partition_set
    return None


def _days_of_run(tags: Mapping[str, str], partition_set: PartitionSet | None) -> list[date]:
    """The days a run was asked for; none when it has no partitions."""
    first = tags.get(ASSET_PARTITION_RANGE_START_TAG, tags.get(PARTITION_NAME_TAG))
    last = tags.get(ASSET_PARTITION_RANGE_END_TAG, first)
    if first is None or last is None or partition_set is None:
        return []
    return partition_set.days(date.fromisoformat(first), date.fromisoformat(last))


def _ended_at(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


# Checks


@dataclass
class _Failing:
    """A check that fails: on which days, None for the whole table; with the latest failed evaluation."""

    days: set[date | None]
    reason: str = ""
    run_id: str | None = None


def _alert_on_checks(
    settings: Settings, lake: Lake, instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey], cursor: str | None
) -> tuple[int, int, str]:
    """Open and close the problems of checks by what was evaluated since the cursor: (new, recovered, next cursor).

    The cursor is the newest record seen of each check.
    """
    seen: dict[str, int] = json.loads(cursor) if cursor else {}
    known = {_check_subject(key): key for key in keys}
    held = {problem: one.alert for problem, one in open_problems(lake).items() if problem.startswith("check:")}
    opened = closed = 0
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(known.values()))
    for subject, key in known.items():
        record = latest.get(key)
        if record is None or record.id <= seen.get(subject, 0):
            continue
        told = {problem: alert for problem, alert in held.items() if _subject_of_problem(problem) == subject}
        failing = _Failing({day for alert in told.values() for day in alert.days or (None,)})
        history = instance.event_log_storage.get_asset_check_execution_history(key, limit=_EVALUATIONS)
        new = sorted((one for one in history if one.id > seen.get(subject, 0)), key=lambda one: one.id)
        seen[subject] = _replay(instance, key, new, failing, seen.get(subject, 0))
        closed += _close_healed(settings, lake, key, told, failing)
        opened += _open_untold(settings, lake, instance, key, told, failing)
    for problem in held:
        if _subject_of_problem(problem) not in known:
            closed += close_alert(settings, lake, problem, "There is no such check any more.")
    return opened, closed, json.dumps(seen)


def _close_healed(
    settings: Settings, lake: Lake, key: dg.AssetCheckKey, told: Mapping[str, Alert], failing: _Failing
) -> int:
    """Close the told problems none of whose days fails any more, take healed days out of the others; how many closed.

    A table that is stale stays one problem, though it is another day that is missing every day.
    """
    closed = 0
    for problem, alert in told.items():
        left = failing.days if _is_staleness(key) else failing.days & set(alert.days or (None,))
        if not left:
            closed += close_alert(settings, lake, problem, "The check passes.")
        elif failing.reason:
            open_alert(settings, lake, replace(alert, days=_sorted(left)))
    return closed


def _open_untold(
    settings: Settings,
    lake: Lake,
    instance: dg.DagsterInstance,
    key: dg.AssetCheckKey,
    told: Mapping[str, Alert],
    failing: _Failing,
) -> bool:
    """Open a problem for the days that fail and that nothing has told of; whether there are any.

    A day that is not materialized is told by its failed run, with the reason, whichever of the two sensors ticks first.
    """
    name = key.asset_key.path[-1]
    untold = failing.days - {day for alert in told.values() for day in alert.days or (None,)}
    if name in DATASETS:
        untold -= {
            day
            for day, run_id in _attempts_in_vain(instance, _assets(name)).items()
            if day in untold and _has_ended(instance, run_id)
        }
    if not untold or not failing.reason or (_is_staleness(key) and told):
        return False
    return open_alert(settings, lake, _check_alert(key, _sorted(untold), failing))


def _replay(
    instance: dg.DagsterInstance,
    key: dg.AssetCheckKey,
    records: Sequence[AssetCheckExecutionRecord],
    failing: _Failing,
    seen: int,
) -> int:
    """Bring `failing` up to date by these evaluations, oldest first; the newest record that needs no second look.

    A day that failed is healed by an evaluation of that day only; a later run of other days says nothing about it.
    """
    waiting = False
    for record in records:
        run = instance.get_run_by_id(record.run_id)
        # A run that goes on may still evaluate it, or fail for the same reason: then the failed run is what is told.
        waiting = waiting or (run is not None and run.status not in FINISHED_STATUSES)
        if not waiting and record.status is not AssetCheckExecutionRecordStatus.PLANNED:
            _apply(
                failing,
                key,
                record,
                _days_of_run(run.tags if run else {}, _partition_set(["__".join(key.asset_key.path)])),
            )
        seen = seen if waiting else record.id
    return seen


def _apply(
    failing: _Failing, key: dg.AssetCheckKey, record: AssetCheckExecutionRecord, covered: Sequence[date]
) -> None:
    evaluation = record.evaluation
    if not isinstance(evaluation, dg.AssetCheckEvaluation):
        return
    # Whether the newest day is there is judged over the whole table, whichever days the run had.
    whole = not covered or _is_staleness(key)
    failing.days = set() if whole else failing.days - {*covered, None}
    severe = evaluation.severity is dg.AssetCheckSeverity.ERROR or _is_staleness(key)
    if not evaluation.passed and severe:
        named = evaluation.metadata.get("failed")
        failing.days |= _days_named(str(named.value) if named else "")
        failing.reason = evaluation.description or "the check failed"
        failing.run_id = record.run_id


def _days_named(text: str) -> set[date | None]:
    """The days in a check's metadata; the whole table when it names none."""
    return {date.fromisoformat(part) if part[:1].isdigit() else None for part in text.split(", ")}


def _is_staleness(key: dg.AssetCheckKey) -> bool:
    return key.name == STALENESS_CHECK


def _sorted(days: Iterable[date | None]) -> tuple[date, ...]:
    return tuple(sorted(day for day in days if day is not None))


def _check_subject(key: dg.AssetCheckKey) -> str:
    return f"check:{'/'.join(key.asset_key.path)}:{key.name}"


def _subject_of_problem(problem: str) -> str:
    return problem.rpartition(":")[0]


def _check_alert(key: dg.AssetCheckKey, days: tuple[date, ...], failing: _Failing) -> Alert:
    """The problem's identity has the days, so that another day is another problem; save for a table that is stale."""
    name = key.asset_key.path[-1]
    partition_set = _partition_set(["__".join(key.asset_key.path)])
    when = named_days(days, partition_set) if days and not _is_staleness(key) else ""
    title = f"{'/'.join(key.asset_key.path)}: check {key.name} failed"
    return Alert(
        problem=f"{_check_subject(key)}:{when}",
        title=f"{name}: stale data" if _is_staleness(key) else title,
        text=failing.reason[:_LONGEST_TEXT],
        days=days,
        run_id=failing.run_id,
        dataset=name if name in DATASETS else None,
    )
