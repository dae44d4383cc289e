"""The emulated AWS as one object: started on a free port of 127.0.0.1, reset and stopped with its context."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from infra.emulation.athena import Athena
from infra.emulation.cloudformation import complete_cloudformation
from infra.emulation.firehose import Firehose
from infra.emulation.functions import Functions
from infra.emulation.glue_definitions import GlueDefinitions
from infra.emulation.glue_jobs import GlueJobs
from infra.emulation.glue_tables import REGION
from infra.emulation.internal import InternalClients
from infra.emulation.storage import Storage
from infra.emulation.traffic import Calls, Faults, Front

_log = logging.getLogger(__name__)
_active = threading.Lock()


@dataclass(frozen=True)
class EmulatedAws:
    """A running emulation. `calls` counts what clients asked for; `faults` says what goes wrong next.

    Time does not pass in it: `firehose.flush` ends a buffering interval, `functions.fire_schedule` fires a schedule.
    """

    endpoint_url: str
    calls: Calls
    faults: Faults
    firehose: Firehose
    functions: Functions
    glue_jobs: GlueJobs

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which boto3 of any process reaches the emulation, and nothing else.

        PyArrow and PyIceberg do not read the endpoint from there: they are to be given it.
        """
        return _environment(self.endpoint_url)

    def settle(self) -> None:
        """Wait until nothing runs any more that was started asynchronously: functions, jobs, workflows."""
        self.functions.settle()
        self.glue_jobs.settle()


@contextmanager
def emulated_aws(port: int = 0) -> Iterator[EmulatedAws]:
    """An empty AWS account over HTTP on 127.0.0.1 (0: a free port). One at a time in a process: moto is global."""
    if not _active.acquire(blocking=False):
        raise RuntimeError("An emulated AWS runs already in this process: leave its context first.")
    try:
        with tempfile.TemporaryDirectory(prefix="emulated-aws-") as name:
            BackendDict.reset()
            with _running(Path(name), port) as running:
                yield running
            BackendDict.reset()
    finally:
        _active.release()


@contextmanager
def _running(folder: Path, port: int) -> Iterator[EmulatedAws]:
    front = Front(DomainDispatcherApplication(create_backend_app), Calls(), Faults())
    server = make_server("127.0.0.1", port, front, threaded=True, request_handler=_QuietHandler)
    endpoint_url = f"http://127.0.0.1:{server.server_port}"
    environment = _environment(endpoint_url)
    clients = InternalClients(endpoint_url)
    storage = Storage(folder)
    athena = Athena(storage, front.faults)
    firehose = Firehose(storage, front.faults, clients)
    functions = Functions(folder, front.faults, clients, environment)
    glue_jobs = GlueJobs(folder, storage, clients, environment)
    for service in (athena, firehose, functions, glue_jobs, GlueDefinitions()):
        front.handlers.update(service.handlers())
    thread = threading.Thread(target=server.serve_forever, name="emulated-aws", daemon=True)
    thread.start()
    try:
        with complete_cloudformation(endpoint_url):
            yield EmulatedAws(endpoint_url, front.calls, front.faults, firehose, functions, glue_jobs)
    finally:
        athena.close()
        functions.settle()
        glue_jobs.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _environment(endpoint_url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "emulated",
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_SESSION_TOKEN": "emulated",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class _QuietHandler(MotoRequestHandler):
    # HTTP/1.1 keeps connections open; a new one for each call is most of a small call's time.
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Only what broke in the emulation itself."""
        if type == "error":
            _log.error(message, *args)
