"""How the emulated services call each other: over HTTP like everybody, but neither counted nor answered with faults."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from infra.emulation.glue_tables import REGION
from infra.emulation.traffic import INTERNAL_KEY


class InternalClients:
    """boto3 clients of the emulation itself, made once for each service."""

    def __init__(self, endpoint_url: str) -> None:
        self._clients: dict[str, Any] = {}
        self._endpoint_url = endpoint_url

    def connect(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._clients.clear()

    def of(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(  # type: ignore[call-overload]
                service,
                endpoint_url=self._endpoint_url,
                region_name=REGION,
                aws_access_key_id=INTERNAL_KEY,
                aws_secret_access_key=INTERNAL_KEY,
                config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=910),
            )
        return self._clients[service]
