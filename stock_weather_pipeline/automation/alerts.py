"""What an alert is, which problems are open, and where alerts go: the log, a JSON-lines file, a webhook.

One problem is told once, however often it is met, and once more when it has healed. Finding problems is the sensors'
part. Every notice is written down before it is sent, and what a sink did not take is sent again at the next tick.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.errors import LakeError, PipelineError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import Layer, external_table
from stock_weather_pipeline.lake.local_objects import storage_error
from stock_weather_pipeline.partitions import PartitionSet, contiguous
from stock_weather_pipeline.settings import Settings

OPEN_PROBLEMS = "alerts/open.json"

_WEBHOOK_TIMEOUT_S = 5.0
# A sensor's tick has 60 s; what is not sent by then waits for the next one.
_DELIVERY_S = 20.0
# The file has them all; this bounds what a webhook that is down for weeks gets when it is back.
_MOST_UNDELIVERED = 1000
_NAMED_DAYS = 10
_NAMED_FILES = 5

_log = logging.getLogger(__name__)

Notice = Mapping[str, Any]
"""A problem or a recovery as sinks get it: JSON values only."""


@dataclass(frozen=True)
class Alert:
    """A problem. `problem` is its identity, such as `run:stock_prices:2024-01-05`; `text` is the reason, in sentences.

    `days` are the days it is about; none for one about a whole table or a job.
    """

    problem: str
    title: str
    text: str
    days: tuple[date, ...] = ()
    run_id: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class OpenProblem:
    """A problem that was told and has not healed."""

    alert: Alert
    opened_at: datetime


class DeliveryError(PipelineError):
    """A sink did not take a notice. Its sentence holds no secret."""


class Sink(Protocol):
    """Somewhere notices go. `name` identifies it across restarts."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> None:
        """Raises DeliveryError when the notice has to be sent again."""
        ...


@dataclass(frozen=True)
class FileSink:
    """One JSON object a line, appended."""

    path: Path
    name: str = "file"

    def send(self, notice: Notice) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(notice) + "\n")
        except OSError as error:
            raise DeliveryError(str(storage_error("write", self.path, error))) from error


@dataclass(frozen=True)
class LogSink:
    """Python's log: a warning for a problem, an info for a recovery."""

    name: str = "log"

    def send(self, notice: Notice) -> None:
        _log.log(logging.WARNING if notice["kind"] == "problem" else logging.INFO, "%s", notice["text"])


@dataclass(frozen=True)
class WebhookSink:
    """A JSON POST. The URL is a secret: it is in no log and in no error."""

    url: SecretStr
    name: str = "webhook"

    def send(self, notice: Notice) -> None:
        request = urllib.request.Request(
            self.url.get_secret_value(),
            data=json.dumps(notice).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "stock_weather_pipeline"},
            method="POST",
        )
        # The standard library, since requests' log at level DEBUG tells the path. A redirect counts as a failure.
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=_WEBHOOK_TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            error.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = type(getattr(error, "reason", error)).__name__
        raise DeliveryError(f"The webhook of STOCK_WEATHER_ALERT_WEBHOOK_URL did not take an alert ({reason}).")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def sinks(settings: Settings) -> list[Sink]:
    """Where notices go with these settings. The file comes first: it is the record."""
    chosen: list[Sink] = [FileSink(alerts_file(settings)), LogSink()]
    if settings.alert_webhook_url is not None:
        chosen.append(WebhookSink(settings.alert_webhook_url))
    return chosen


def alerts_file(settings: Settings) -> Path:
    return settings.data_home / "alerts.jsonl"


def open_alert(settings: Settings, lake: Lake, alert: Alert) -> bool:
    """Tell a problem, unless it is open already: then only its days are brought up to date. True when it is new."""
    with _state(settings, lake) as state:
        known = state.problems.get(alert.problem)
        if known is not None:
            if known.alert.days != alert.days:
                state.problems[alert.problem] = OpenProblem(alert, known.opened_at)
                state.save(lake)
            return False
        state.problems[alert.problem] = OpenProblem(alert, datetime.now(timezone.utc))
        state.post(settings, _notice(settings, lake, "problem", alert, alert.text))
        state.save(lake)
        _deliver(settings, lake, state)
        return True


def close_alert(settings: Settings, lake: Lake, problem: str, text: str) -> bool:
    """Tell that a problem has healed, `text` saying how. False when it was not open."""
    with _state(settings, lake) as state:
        known = state.problems.pop(problem, None)
        if known is None:
            return False
        state.post(settings, _notice(settings, lake, "recovery", known.alert, text))
        state.save(lake)
        _deliver(settings, lake, state)
        return True


def open_problems(lake: Lake) -> dict[str, OpenProblem]:
    """What was told and has not healed, by problem."""
    return _State.load(lake).problems


def deliver_pending(settings: Settings, lake: Lake) -> int:
    """Send again what a sink did not take; how many notices still wait."""
    if not _State.load(lake).undelivered:
        return 0
    with _state(settings, lake) as state:
        _deliver(settings, lake, state)
        return len(state.undelivered)


def run_url(settings: Settings, run_id: str) -> str:
    """Where the run is seen in Dagster's UI."""
    return f"{settings.dagster_url}/runs/{run_id}"


def named_days(days: Sequence[date], partition_set: PartitionSet | None) -> str:
    """Days as few ranges: `2024-01-02..2024-01-05,2024-01-09`."""
    groups = contiguous(days, partition_set or PartitionSet.DAYS)
    return ",".join(str(group[0]) if len(group) == 1 else f"{group[0]}..{group[-1]}" for group in groups)


@dataclass
class _Pending:
    """A notice and the names of the sinks that have not taken it."""

    notice: Notice
    to: list[str]


@dataclass
class _State:
    problems: dict[str, OpenProblem] = field(default_factory=dict)
    undelivered: list[_Pending] = field(default_factory=list)

    @classmethod
    def load(cls, lake: Lake) -> _State:
        if not lake.objects.exists(OPEN_PROBLEMS):
            return cls()
        try:
            held = json.loads(lake.objects.read(OPEN_PROBLEMS))
            problems = [_problem_from_json(item) for item in held["open"]]
            return cls({one.alert.problem: one for one in problems}, [_Pending(**item) for item in held["undelivered"]])
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"{lake.objects.uri(OPEN_PROBLEMS)} is damaged ({error}): delete it; problems that persist are told "
                "again."
            ) from error

    def save(self, lake: Lake) -> None:
        held = {
            "open": [_problem_to_json(problem) for problem in self.problems.values()],
            "undelivered": [asdict(pending) for pending in self.undelivered],
        }
        lake.objects.write(OPEN_PROBLEMS, json.dumps(held, indent=1).encode())

    def post(self, settings: Settings, notice: Notice) -> None:
        self.undelivered.append(_Pending(notice, [sink.name for sink in sinks(settings)]))
        del self.undelivered[:-_MOST_UNDELIVERED]


@contextmanager
def _state(settings: Settings, lake: Lake) -> Iterator[_State]:
    """The state, held by one tick at a time: sensors tick in threads, the command line in a process of its own."""
    path = settings.data_home / "alerts.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise storage_error("open", path, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _State.load(lake)


def _deliver(settings: Settings, lake: Lake, state: _State) -> None:
    """Send what is pending, oldest first; a sink that fails is left alone until the next tick."""
    by_name = {sink.name: sink for sink in sinks(settings)}
    working = set(by_name)
    until = time.monotonic() + _DELIVERY_S
    for pending in list(state.undelivered):
        if time.monotonic() > until:
            return
        # A sink that is no longer configured waits for nothing.
        pending.to = [name for name in pending.to if name in by_name]
        for name in [name for name in pending.to if name in working]:
            if _taken(by_name[name], pending.notice, settings):
                pending.to.remove(name)
            else:
                working.discard(name)
        if not pending.to:
            state.undelivered.remove(pending)
        # At once, so that a kill sends at most one notice twice.
        state.save(lake)


def _taken(sink: Sink, notice: Notice, settings: Settings) -> bool:
    try:
        sink.send(notice)
    except DeliveryError as error:
        _log.warning("%s The alert is in %s and is sent again.", error, alerts_file(settings))
        return False
    return True


def _notice(settings: Settings, lake: Lake, kind: str, alert: Alert, reason: str) -> Notice:
    link = run_url(settings, alert.run_id) if alert.run_id else None
    quarantine = _quarantine(lake, alert) if kind == "problem" else []
    partition_set = DATASETS[alert.dataset].partition_set if alert.dataset in DATASETS else None
    lines = [alert.title if kind == "problem" else f"Recovered: {alert.title}", reason]
    if alert.days:
        named = named_days(alert.days[:_NAMED_DAYS], partition_set)
        more = f" and {len(alert.days) - _NAMED_DAYS} more" if len(alert.days) > _NAMED_DAYS else ""
        lines.append(f"Days: {named}{more}")
    lines += [f"Run: {link}"] if link else []
    lines += [f"Quarantine: {uri}" for uri in quarantine]
    return {
        "kind": kind,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "problem": alert.problem,
        "title": alert.title,
        "reason": reason,
        "text": "\n".join(lines),
        "days": [str(day) for day in alert.days],
        "dataset": alert.dataset,
        "run_id": alert.run_id,
        "run_url": link,
        "quarantine": quarantine,
    }


def _quarantine(lake: Lake, alert: Alert) -> list[str]:
    """Where the rows of the alert's days are that were set aside; the first files stand for very many."""
    if alert.dataset not in DATASETS:
        return []
    table = external_table(DATASETS[alert.dataset], Layer.QUARANTINE)
    stored = lake.engine.stored(table, alert.days if table.partitioned else (None,))
    return [stored[day].uri for day in sorted(stored, key=str)[:_NAMED_FILES]]


def _problem_to_json(problem: OpenProblem) -> dict[str, Any]:
    days = [str(day) for day in problem.alert.days]
    return {**asdict(problem.alert), "days": days, "opened_at": problem.opened_at.isoformat()}


def _problem_from_json(held: dict[str, Any]) -> OpenProblem:
    opened_at = datetime.fromisoformat(held.pop("opened_at"))
    held["days"] = tuple(date.fromisoformat(day) for day in held["days"])
    return OpenProblem(Alert(**held), opened_at)
