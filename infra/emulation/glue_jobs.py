"""Glue's jobs, crawlers and workflows: scripts run in processes, crawlers look at CSV files, triggers start the next.

moto keeps the definitions. A job runs with this interpreter and its packages instead of Glue's; of the modules it asks
for only wheels in S3 are put on the path.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import glue_backends

from infra.emulation.glue_tables import REGION
from infra.emulation.internal import InternalClients
from infra.emulation.storage import Storage
from infra.emulation.traffic import AwsError, Handler

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT")


@dataclass
class JobRun:
    """One run of a job; `state` changes while it runs. `log` is what it wrote."""

    id: str
    job: str
    arguments: dict[str, str]
    started_at: float
    state: str = "RUNNING"
    error: str | None = None
    ended_at: float | None = None
    log: str = ""
    process: subprocess.Popen[bytes] | None = None
    stopped: bool = False

    def described(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "Id": self.id,
            "JobName": self.job,
            "JobRunState": self.state,
            "Arguments": self.arguments,
            "StartedOn": self.started_at,
            "Attempt": 0,
        }
        if self.error is not None:
            described["ErrorMessage"] = self.error
        if self.ended_at is not None:
            described["CompletedOn"] = self.ended_at
            described["ExecutionTime"] = round(self.ended_at - self.started_at)
        return described


@dataclass
class WorkflowRun:
    """One run of a workflow and the (kind, name, state) of the jobs and crawlers it ran."""

    id: str
    workflow: str
    started_at: float
    status: str = "RUNNING"
    done: list[tuple[str, str, str]] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        failed = sum(state != "SUCCEEDED" for _, _, state in self.done)
        return {
            "Name": self.workflow,
            "WorkflowRunId": self.id,
            "StartedOn": self.started_at,
            "Status": self.status,
            "Statistics": {
                "TotalActions": len(self.done),
                "FailedActions": failed,
                "SucceededActions": len(self.done) - failed,
            },
        }


class GlueJobs:
    """Runs, by id."""

    def __init__(
        self, folder: Path, storage: Storage, clients: InternalClients, environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._storage = storage
        self._clients = clients
        self._environment = environment
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.job_runs: dict[str, JobRun] = {}
        self.workflow_runs: dict[str, WorkflowRun] = {}

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("glue", "StartJobRun"): lambda p: {"JobRunId": self._start_job(p["JobName"], p.get("Arguments") or {}).id},
            ("glue", "GetJobRun"): lambda p: {"JobRun": self._job_run(p["RunId"]).described()},
            ("glue", "GetJobRuns"): self._job_runs,
            ("glue", "BatchStopJobRun"): self._stop_jobs,
            ("glue", "StartWorkflowRun"): lambda p: {"RunId": self._start_workflow(p["Name"]).id},
            ("glue", "GetWorkflowRun"): self._workflow_run,
            ("glue", "StartCrawler"): self._start_crawler,
        }

    def settle(self) -> None:
        """Wait for every job and workflow that runs."""
        while self._threads:
            self._threads.pop().join()

    def close(self) -> None:
        for run in self.job_runs.values():
            self._stop(run)
        self.settle()

    # --- jobs --------------------------------------------------------------------------------------------------------

    def _start_job(self, name: str, arguments: Mapping[str, str]) -> JobRun:
        job = self._definition("get_job", {"JobName": name})["Job"]
        most = int(job.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1))
        every = {**job.get("DefaultArguments", {}), **arguments}
        with self._lock:
            if sum(run.job == name and run.ended_at is None for run in self.job_runs.values()) >= most:
                raise AwsError("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {name}")
            run = JobRun(f"jr_{uuid.uuid4().hex}", name, every, time.time())
            self.job_runs[run.id] = run
        self._in_thread(self._run_job, run, job)
        return run

    def _run_job(self, run: JobRun, job: Mapping[str, Any]) -> None:
        try:
            command = self._command(run, job)
        except FileNotFoundError as error:
            self._end(run, "FAILED", f"{error} is not there")
            return
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        environment = {"PATH": os.environ.get("PATH", ""), "TZ": "UTC", **self._environment}
        environment["PYTHONPATH"] = os.pathsep.join(self._modules(run))
        run.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if run.stopped:
            run.process.kill()
        try:
            output, _ = run.process.communicate(timeout=int(job.get("Timeout", 2880)) * 60)
        except subprocess.TimeoutExpired:
            run.process.kill()
            self._end(run, "TIMEOUT", "The job ran longer than it may")
            return
        run.log = output.decode(errors="replace")
        if run.stopped:
            self._end(run, "STOPPED", None)
        elif run.process.returncode == 0:
            self._end(run, "SUCCEEDED", None)
        else:
            self._end(run, "FAILED", next((line for line in reversed(run.log.splitlines()) if line.strip()), "failed"))

    def _command(self, run: JobRun, job: Mapping[str, Any]) -> list[str]:
        script = self._storage.local_copy(job["Command"]["ScriptLocation"])
        own = {"--JOB_NAME": run.job, "--JOB_RUN_ID": run.id}
        return [sys.executable, str(script), *(word for pair in {**run.arguments, **own}.items() for word in pair)]

    def _modules(self, run: JobRun) -> list[str]:
        """Folders of the wheels among the job's modules, unpacked."""
        folders = []
        for module in run.arguments.get("--additional-python-modules", "").split(","):
            if module.startswith("s3://"):
                wheel = self._storage.local_copy(module)
                folder = wheel.with_suffix(".unpacked")
                with self._lock:
                    if not folder.exists():
                        with zipfile.ZipFile(wheel) as package:
                            package.extractall(folder)
                folders.append(str(folder))
        return folders

    def _end(self, run: JobRun, state: str, error: str | None) -> None:
        run.error, run.ended_at = error, time.time()
        run.state = state

    def _stop(self, run: JobRun) -> None:
        if run.ended_at is None:
            run.stopped = True
            if run.process is not None:
                run.process.kill()

    def _job_run(self, identity: str) -> JobRun:
        if identity not in self.job_runs:
            raise AwsError("EntityNotFoundException", f"Job run {identity} is not found")
        return self.job_runs[identity]

    def _job_runs(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        found = [run.described() for run in self.job_runs.values() if run.job == parameters["JobName"]]
        return {"JobRuns": found[::-1]}

    def _stop_jobs(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        for identity in parameters["JobRunIds"]:
            self._stop(self._job_run(identity))
        stopped = [{"JobName": parameters["JobName"], "JobRunId": identity} for identity in parameters["JobRunIds"]]
        return {"SuccessfulSubmissions": stopped, "Errors": []}

    # --- workflows ---------------------------------------------------------------------------------------------------

    def _start_workflow(self, name: str) -> WorkflowRun:
        self._definition("get_workflow", {"Name": name})
        run = WorkflowRun(f"wr_{uuid.uuid4().hex}", name, time.time())
        self.workflow_runs[run.id] = run
        self._in_thread(self._run_workflow, run)
        return run

    def _run_workflow(self, run: WorkflowRun) -> None:
        triggers = [
            t for t in self._clients.of("glue").get_triggers()["Triggers"] if t.get("WorkflowName") == run.workflow
        ]
        waiting = [trigger for trigger in triggers if trigger["Type"] == "CONDITIONAL"]
        ready = [trigger for trigger in triggers if trigger["Type"] != "CONDITIONAL"]
        while ready:
            for trigger in ready:
                for action in trigger["Actions"]:
                    run.done.append(self._act(action))
            ready = [trigger for trigger in waiting if _holds(trigger["Predicate"], run.done)]
            waiting = [trigger for trigger in waiting if trigger not in ready]
        run.status = "COMPLETED"

    def _act(self, action: Mapping[str, Any]) -> tuple[str, str, str]:
        if "CrawlerName" in action:
            return "crawler", action["CrawlerName"], self._crawl(action["CrawlerName"])
        try:
            job = self._start_job(action["JobName"], action.get("Arguments") or {})
        except AwsError:
            return "job", action["JobName"], "FAILED"
        while job.state not in _ENDED:
            time.sleep(0.02)
        return "job", job.job, job.state

    def _workflow_run(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        run = self.workflow_runs.get(parameters["RunId"])
        if run is None or run.workflow != parameters["Name"]:
            raise AwsError("EntityNotFoundException", f"Workflow run {parameters['RunId']} is not found")
        return {"Run": run.described()}

    # --- crawlers ----------------------------------------------------------------------------------------------------

    def _start_crawler(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        self._crawl(parameters["Name"])
        return {}

    def _crawl(self, name: str) -> str:
        """Make the tables that are not there yet; others stay, as with UpdateBehavior LOG, the only one emulated."""
        crawler = self._definition("get_crawler", {"Name": name})["Crawler"]
        glue = self._clients.of("glue")
        glue_name = crawler["DatabaseName"]
        existing = {table["Name"] for table in glue.get_tables(DatabaseName=glue_name)["TableList"]}
        for target in crawler["Targets"]["S3Targets"]:
            location = target["Path"].rstrip("/") + "/"
            table = location.rstrip("/").rsplit("/", 1)[1]
            files = [file.uri for file in self._storage.list(location)]
            if not files or table in existing:
                continue
            first = files[0].removeprefix(location).split("/")[:-1]
            glue.create_table(
                DatabaseName=glue_name,
                TableInput={
                    "Name": table,
                    "TableType": "EXTERNAL_TABLE",
                    "PartitionKeys": [{"Name": part.split("=")[0], "Type": "string"} for part in first if "=" in part],
                    "Parameters": {"classification": "csv", "UPDATED_BY_CRAWLER": name},
                    "StorageDescriptor": {
                        "Location": location,
                        "Columns": [
                            {"Name": column, "Type": kind}
                            for column, kind in crawled_columns(self._storage.read(uri) for uri in files).items()
                        ],
                    },
                },
            )
        # moto's crawler does nothing but go through its states.
        kept = glue_backends[DEFAULT_ACCOUNT_ID][REGION].get_crawler(name)
        kept.start_crawler()
        kept.crawls[-1].status = "COMPLETED"
        return "SUCCEEDED"

    # --- both --------------------------------------------------------------------------------------------------------

    def _definition(self, operation: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        try:
            found: dict[str, Any] = getattr(self._clients.of("glue"), operation)(**parameters)
        except ClientError as error:
            about = error.response["Error"]
            raise AwsError(about["Code"], about["Message"]) from error
        return found

    def _in_thread(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def _holds(predicate: Mapping[str, Any], done: Sequence[tuple[str, str, str]]) -> bool:
    kept = [
        ("crawler", condition["CrawlerName"], condition["CrawlState"]) in done
        if "CrawlerName" in condition
        else ("job", condition["JobName"], condition["State"]) in done
        for condition in predicate["Conditions"]
    ]
    return any(kept) if predicate.get("Logical") == "ANY" else all(kept)


def crawled_columns(files: Iterable[bytes]) -> dict[str, str]:
    """The columns of CSV files with a header, in order of appearance, with the type that fits every value."""
    kinds: dict[str, str] = {}
    for data in files:
        for row in csv.DictReader(data.decode().splitlines()):
            for name, value in row.items():
                kinds[name] = _wider(kinds.get(name, "bigint"), value or "")
    return kinds


def _wider(kind: str, value: str) -> str:
    if not value or kind == "string":
        return kind
    for candidate, read in (("bigint", int), ("double", float)):
        if candidate == "bigint" and kind == "double":
            continue
        try:
            read(value)
        except ValueError:
            continue
        return candidate
    return "string"
