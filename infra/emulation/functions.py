"""Lambda, and EventBridge Scheduler as far as it invokes: the deployed package's handler runs in a process of its own.

It runs with this interpreter, so a package with compiled parts has to be built for it. moto keeps the definitions.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.awslambda.models import lambda_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from infra.emulation.glue_tables import REGION
from infra.emulation.internal import InternalClients
from infra.emulation.traffic import AwsError, Faults, Handler

_PROCESS = Path(__file__).with_name("lambda_process.py")
_WORKFLOW_TARGET = "arn:aws:scheduler:::aws-sdk:glue:startWorkflowRun"


@dataclass(frozen=True)
class Invocation:
    """One run of a handler. `error` is Lambda's answer where it failed."""

    function: str
    event: bytes
    payload: Any
    error: dict[str, str] | None
    log: str

    @property
    def answer(self) -> bytes:
        return json.dumps(self.payload if self.error is None else self.error).encode()


class Functions:
    """Invocations, in order; asynchronous ones run in threads, which `settle` waits for."""

    def __init__(self, folder: Path, faults: Faults, clients: InternalClients, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._faults = faults
        self._clients = clients
        self._environment = environment
        self._threads: list[threading.Thread] = []
        self._unpacking = threading.Lock()
        self.invocations: list[Invocation] = []

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("lambda", "Invoke"): self._invoke}

    def settle(self) -> None:
        """Wait for asynchronous invocations and their retries."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def fire_schedule(self, name: str, at: datetime | None = None) -> None:
        """What EventBridge Scheduler does with an enabled schedule when its time, `at` (now), has come.

        A target that cannot be called is tried again as the schedule says, then goes to its dead-letter queue. Raises
        ValueError for a schedule that is disabled, of another target, or not there.
        """
        found = [s for s in self._clients.of("scheduler").list_schedules()["Schedules"] if s["Name"] == name]
        if not found or found[0]["State"] != "ENABLED":
            raise ValueError(f"The schedule {name} is {'disabled' if found else 'not there'}: it would not fire.")
        schedule = self._clients.of("scheduler").get_schedule(Name=name, GroupName=found[0]["GroupName"])
        target = schedule["Target"]
        text = _filled(target.get("Input", "{}"), schedule, at or datetime.now(timezone.utc))
        problems: list[AwsError] = []
        while len(problems) <= int(target["RetryPolicy"]["MaximumRetryAttempts"]):
            problem = self._problem(target["Arn"], text)
            if problem is None:
                return
            problems.append(problem)
        self._to_queue(
            target["DeadLetterConfig"]["Arn"],
            text,
            {
                "ERROR_CODE": problems[-1].code,
                "ERROR_MESSAGE": problems[-1].message,
                "SCHEDULE_ARN": schedule["Arn"],
            },
        )

    def _problem(self, target: str, text: str) -> AwsError | None:
        try:
            self._call(target, text)
        except AwsError as error:
            return error
        return None

    def _call(self, target: str, text: str) -> None:
        if target == _WORKFLOW_TARGET:
            fault = self._faults.of_call("glue", "StartWorkflowRun")
            if fault is not None:
                raise fault[0].error("glue")
            try:
                self._clients.of("glue").start_workflow_run(**json.loads(text))
            except ClientError as error:
                raise AwsError(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
            return
        if ":function:" not in target:
            raise ValueError(f"A schedule with the target {target} is not emulated.")
        fault = self._faults.of_call("lambda", "Invoke")
        if fault is not None:
            raise fault[0].error("lambda")
        self._invoke({"FunctionName": target.rsplit(":", 1)[1], "InvocationType": "Event", "Payload": text.encode()})

    def _invoke(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        name = parameters["FunctionName"].rsplit(":function:", 1)[-1]
        functions = {f.function_name: f for f in lambda_backends[DEFAULT_ACCOUNT_ID][REGION].list_functions()}
        if name not in functions:
            raise AwsError("ResourceNotFoundException", f"Function not found: {name}", 404)
        event = parameters.get("Payload") or b"{}"
        event = event if isinstance(event, bytes) else event.encode()
        if parameters.get("InvocationType") == "Event":
            thread = threading.Thread(target=self._invoke_later, args=(functions[name], event), daemon=True)
            self._threads.append(thread)
            thread.start()
            return {"StatusCode": 202, "Payload": b""}
        invocation = self._run(functions[name], event)
        answer: dict[str, Any] = {"StatusCode": 200, "Payload": invocation.answer, "ExecutedVersion": "$LATEST"}
        if invocation.error is not None:
            answer["FunctionError"] = "Unhandled"
        if parameters.get("LogType") == "Tail":
            answer["LogResult"] = base64.b64encode(invocation.log.encode()[-4096:]).decode()
        return answer

    def _invoke_later(self, function: Any, event: bytes) -> None:
        configuration = self._event_configuration(function.function_name)
        attempts = int(configuration.get("MaximumRetryAttempts", 2)) + 1
        for _ in range(attempts):
            invocation = self._run(function, event)
            if invocation.error is None:
                return
        destination = configuration.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if destination:
            record = {
                "version": "1.0",
                "timestamp": datetime.now(timezone.utc).isoformat(),
                "requestContext": {
                    "functionArn": function.function_arn,
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": attempts,
                },
                "requestPayload": json.loads(event),
                "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
                "responsePayload": invocation.error,
            }
            self._to_queue(destination, json.dumps(record), {})

    def _event_configuration(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._clients.of("lambda").get_function_event_invoke_config(FunctionName=name)
        except ClientError:
            return {}
        return found

    def _run(self, function: Any, event: bytes) -> Invocation:
        code = self._folder / f"code-{function.code_sha_256.replace('/', '_')}"
        with self._unpacking:
            if not code.exists():
                unpacked = Path(tempfile.mkdtemp(dir=self._folder))
                with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as package:
                    package.extractall(unpacked)
                unpacked.rename(code)
        result = self._folder / f"result-{uuid.uuid4()}"
        seconds = int(function.timeout)
        command = [
            sys.executable,
            str(_PROCESS),
            str(code),
            function.handler,
            str(uuid.uuid4()),
            str(seconds),
            str(result),
        ]
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "TZ": "UTC",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            **self._environment,
            **{name: str(value) for name, value in function.environment_vars.items()},
        }
        try:
            done = subprocess.run(
                command, input=event, env=environment, capture_output=True, timeout=seconds, check=False
            )
            log = (done.stdout + done.stderr).decode()
        except subprocess.TimeoutExpired as error:
            log = ((error.stdout or b"") + (error.stderr or b"")).decode()
        if result.exists():
            answer = json.loads(result.read_text())
        else:
            message = f"The process ended, or ran longer than {seconds} s, without an answer"
            answer = {"error": {"errorMessage": message, "errorType": "Sandbox.Timedout"}}
        invocation = Invocation(function.function_name, event, answer.get("payload"), answer.get("error"), log)
        self.invocations.append(invocation)
        return invocation

    def _to_queue(self, queue_arn: str, text: str, attributes: Mapping[str, str]) -> None:
        sqs = self._clients.of("sqs")
        url = sqs.get_queue_url(QueueName=queue_arn.rsplit(":", 1)[1])["QueueUrl"]
        described = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        sqs.send_message(QueueUrl=url, MessageBody=text, MessageAttributes=described)


def _filled(text: str, schedule: Mapping[str, Any], at: datetime) -> str:
    values = {
        "scheduled-time": at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "schedule-arn": str(schedule["Arn"]),
        "execution-id": str(uuid.uuid4()),
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text
