"""Firehose: records are buffered until `flush`, then delivered as one object, as the stream's definition says.

moto keeps the streams; it would deliver every call at once and leave `!{timestamp:...}` as it is.
"""

from __future__ import annotations

import gzip
import re
import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from infra.emulation.internal import InternalClients
from infra.emulation.storage import Storage
from infra.emulation.traffic import AwsError, Faults, Handler

MAX_RECORDS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 1000 * 1024
_JAVA_FORMATS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


class Firehose:
    """The buffers of all streams."""

    def __init__(self, storage: Storage, faults: Faults, clients: InternalClients) -> None:
        self._storage = storage
        self._faults = faults
        self._clients = clients
        self._lock = threading.Lock()
        self._buffered: dict[str, list[bytes]] = {}

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("firehose", "PutRecord"): self._put_record, ("firehose", "PutRecordBatch"): self._put_record_batch}

    def flush(self, at: datetime | None = None) -> list[str]:
        """Deliver what is buffered, as when the buffering interval ends at `at` (now); the URIs of the objects."""
        with self._lock:
            buffered, self._buffered = self._buffered, {}
        return [
            self._deliver(stream, records, at or datetime.now(timezone.utc)) for stream, records in buffered.items()
        ]

    def _put_record(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        answer = self._accept(parameters["DeliveryStreamName"], [parameters["Record"]["Data"]], refused=0)
        return {"RecordId": answer["RequestResponses"][0]["RecordId"]}

    def _put_record_batch(self, parameters: dict[str, Any]) -> Mapping[str, Any]:
        records = [record["Data"] for record in parameters["Records"]]
        return self._accept(parameters["DeliveryStreamName"], records, self._faults.of_records())

    def _accept(self, stream: str, records: Sequence[bytes], refused: int) -> dict[str, Any]:
        self._destination(stream)
        if len(records) > MAX_RECORDS or sum(map(len, records)) > MAX_BATCH_BYTES:
            raise AwsError("InvalidArgumentException", "A batch holds at most 500 records and 4 MiB")
        if any(len(record) > MAX_RECORD_BYTES for record in records):
            raise AwsError("InvalidArgumentException", "A record holds at most 1,000 KiB")
        accepted = records[: max(0, len(records) - refused)]
        with self._lock:
            self._buffered.setdefault(stream, []).extend(accepted)
        failed = len(records) - len(accepted)
        unavailable = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        return {
            "FailedPutCount": failed,
            "RequestResponses": [*({"RecordId": str(uuid.uuid4())} for _ in accepted), *([unavailable] * failed)],
        }

    def _destination(self, stream: str) -> dict[str, Any]:
        try:
            answer = self._clients.of("firehose").describe_delivery_stream(DeliveryStreamName=stream)
        except ClientError as error:
            about = error.response["Error"]
            raise AwsError(about["Code"], about["Message"]) from error
        destination: dict[str, Any] = answer["DeliveryStreamDescription"]["Destinations"][0]
        return dict(destination["ExtendedS3DestinationDescription"])

    def _deliver(self, stream: str, records: Sequence[bytes], at: datetime) -> str:
        destination = self._destination(stream)
        data = b"".join(records)
        compressed = destination.get("CompressionFormat") == "GZIP"
        bucket = destination["BucketARN"].rsplit(":", 1)[1]
        name = f"{stream}-1-{at:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{'.gz' if compressed else ''}"
        uri = f"s3://{bucket}/{expanded(destination.get('Prefix', ''), at)}{name}"
        self._storage.write(uri, gzip.compress(data, mtime=0) if compressed else data)
        return uri


def expanded(prefix: str, at: datetime) -> str:
    """The prefix with `!{timestamp:yyyy/MM/dd}` filled in, in UTC. Raises ValueError for another expression."""

    def value(match: re.Match[str]) -> str:
        namespace, _, pattern = match[1].partition(":")
        written = re.sub("|".join(_JAVA_FORMATS), lambda found: at.strftime(_JAVA_FORMATS[found[0]]), pattern)
        if namespace != "timestamp" or re.search("[A-Za-z]", written):
            raise ValueError(f"!{{{match[1]}}} in a prefix of Firehose is not emulated")
        return written

    return re.sub(r"!\{([^}]*)\}", value, prefix)
