"""The emulated AWS as one object: started on a free port of 127.0.0.1, reset and stopped with its context."""

from __future__ import annotations

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
from infra.emulation.glue_tables import REGION
from infra.emulation.storage import Storage
from infra.emulation.traffic import Calls, Faults, Front

_active = threading.Lock()


@dataclass(frozen=True)
class EmulatedAws:
    """A running emulation. `calls` counts what clients asked for; `faults` says what goes wrong next."""

    endpoint_url: str
    calls: Calls
    faults: Faults

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which boto3 of any process reaches the emulation, and nothing else.

        PyArrow and PyIceberg do not read the endpoint from there: they are to be given it.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "emulated",
            "AWS_SECRET_ACCESS_KEY": "emulated",
            "AWS_SESSION_TOKEN": "emulated",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextmanager
def emulated_aws(port: int = 0) -> Iterator[EmulatedAws]:
    """An empty AWS account over HTTP on 127.0.0.1 (0: a free port). One at a time in a process: moto is global."""
    if not _active.acquire(blocking=False):
        raise RuntimeError("An emulated AWS runs already in this process: leave its context first.")
    try:
        with tempfile.TemporaryDirectory(prefix="emulated-aws-") as folder:
            BackendDict.reset()
            calls, faults = Calls(), Faults()
            storage = Storage(Path(folder))
            athena = Athena(storage, faults)
            front = Front(DomainDispatcherApplication(create_backend_app), calls, faults, {**athena.handlers()})
            server = make_server("127.0.0.1", port, front, threaded=True, request_handler=_QuietHandler)
            thread = threading.Thread(target=server.serve_forever, name="emulated-aws", daemon=True)
            thread.start()
            try:
                yield EmulatedAws(f"http://127.0.0.1:{server.server_port}", calls, faults)
            finally:
                athena.close()
                server.shutdown()
                thread.join()
                server.server_close()
                BackendDict.reset()
    finally:
        _active.release()


class _QuietHandler(MotoRequestHandler):
    # HTTP/1.1 keeps connections open; a new one for each call is most of a small call's time.
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Nothing: tests print what they assert."""
