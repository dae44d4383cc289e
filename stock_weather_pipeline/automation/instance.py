"""The Dagster instance of a data home: found, made and opened here."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.local_objects import storage_error
from stock_weather_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


PROCESS_TAG = "stock_weather/process"
"""The tag of a run of the command line: the process that carries it out."""


def shared_file(name: str) -> Path:
    """`dagster.yaml` or `workspace.yaml`: from the repository, or from where an installed package put it."""
    for folder in (Path(__file__).parents[2], Path(sys.prefix) / "share" / "stock_weather_pipeline"):
        if (folder / name).is_file():
            return folder / name
    raise LakeError(f"{name} was not installed: install from a clone with `pip install -e .`.")


def prepare_dagster_home(settings: Settings) -> Path:
    """Make the instance's folder, with the repository's dagster.yaml in it, and name it to Dagster."""
    home = settings.dagster_home
    target = home / "dagster.yaml"
    content = shared_file("dagster.yaml").read_text()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_text() != content:
            target.write_text(content)
    except OSError as error:
        raise storage_error("write", target, error) from error
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["STOCK_WEATHER_EVENT_LOG_DIR"] = str(home / "history" / "runs")
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The instance that the UI of `make dev` shows. Raises LakeError when its storage cannot be used."""
    home = prepare_dagster_home(settings)
    from dagster import DagsterInstance
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with DagsterInstance.get() as instance:
            yield instance
    except SQLAlchemyError as error:
        raise LakeError(
            f"Dagster's records in {home} cannot be used ({getattr(error, 'orig', error)}): free disk space, or move "
            "that folder away; the tables are elsewhere, and `run --again` records them anew."
        ) from error


def this_process() -> str:
    """Names this process to other processes of the machine."""
    return f"{socket.gethostname()}:{os.getpid()}"


def fail_abandoned_runs(instance: DagsterInstance) -> None:
    """Mark runs as failed whose process of this machine was killed; Dagster would show them as running for ever."""
    from dagster import DagsterRunStatus, RunsFilter

    host = socket.gethostname()
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])):
        where, _, pid = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if where == host and not _is_alive(int(pid)):
            instance.report_run_failed(run, f"Its process {pid} was killed. Run again: it goes on where it stopped.")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
