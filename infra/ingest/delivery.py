"""Delivery to the landing zone through Firehose, and to the dead-letter queue where that fails.

A delivered record holds lines of JSON, one row each, as `layers.landing` reads them. Delivering twice changes nothing:
the landing zone keeps the newest row of every key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stock_weather_pipeline.sources.base import Page, as_text

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# Firehose's limits of a PutRecordBatch: 500 records, 4 MiB together, 1,000 KiB each.
MOST_RECORDS = 500
MOST_BYTES = 4_000_000
LARGEST_RECORD = 1_000_000
# Firehose bills every record as a multiple of 5 KB, so a row each would cost twenty times as much.
RECORD_BYTES = 5 * 1024
TRIES = 6
_BACKOFF_S = 0.2
# SQS takes 256 KiB; what is larger is stored, and the message holds its key.
_LARGEST_MESSAGE = 200_000
UNDELIVERED = "landing_failed/"

_log = logging.getLogger(__name__)


def lines(dataset: str, page: Page, fetched_at: str) -> Iterator[bytes]:
    """A line for each row: the contract's columns without nulls, and what the landing zone decides by."""
    names = list(page.columns)
    head = {"dataset": dataset, "fetched_at": fetched_at, **({"simulated": True} if page.simulated else {})}
    for values in zip(*page.columns.values(), strict=True):
        row = {name: as_text(value) for name, value in zip(names, values, strict=True) if value is not None}
        yield json.dumps({**head, **row}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def records(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Lines packed into records of at most RECORD_BYTES, in order; a longer line is a record of its own."""
    record = b""
    for line in rows:
        if record and len(record) + len(line) > RECORD_BYTES:
            yield record
            record = b""
        record += line
    if record:
        yield record


def batches(packed: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Records in batches that one call may hold, in order. Each is at most LARGEST_RECORD long."""
    batch: list[bytes] = []
    size = 0
    for record in packed:
        if batch and (len(batch) == MOST_RECORDS or size + len(record) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record)
    if batch:
        yield batch


@dataclass(frozen=True)
class DeadLetters:
    """Where records go that cannot be delivered: a queue, with large ones as objects of the bucket."""

    sqs: SQSClient
    queue_url: str
    s3: S3Client
    bucket: str

    def send(self, dataset: str, reason: str, undelivered: Sequence[bytes]) -> None:
        """One message. Its id depends on the records only, so that repeats are told apart from news."""
        data = b"".join(undelivered)
        identity = hashlib.sha256(data).hexdigest()[:32]
        message = {"id": identity, "dataset": dataset, "reason": reason, "records": len(undelivered)}
        if len(data) <= _LARGEST_MESSAGE:
            content = {"lines": data.decode()}
        else:
            key = f"{UNDELIVERED}{dataset}/{identity}.jsonl"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
            content = {"bucket": self.bucket, "key": key}
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps({**message, **content}))
        _log.error("%d records of %s could not be delivered: %s", len(undelivered), dataset, reason, extra=message)


@dataclass(frozen=True)
class Delivery:
    """The stream of one dataset."""

    dataset: str
    firehose: FirehoseClient
    stream: str
    dead_letters: DeadLetters
    sleep: Callable[[float], None] = time.sleep

    def send(self, rows: Iterable[bytes]) -> tuple[int, int]:
        """Deliver lines: (records delivered, records in the dead-letter queue). Raises when that fails as well."""
        delivered = dead = 0
        too_long: list[bytes] = []
        for batch in batches(_fitting(records(rows), too_long)):
            left, reason = self._send_batch(batch)
            delivered += len(batch) - len(left)
            dead += len(left)
            if left:
                self.dead_letters.send(self.dataset, reason, left)
        if too_long:
            self.dead_letters.send(self.dataset, f"a row is longer than {LARGEST_RECORD:,} bytes", too_long)
        return delivered, dead + len(too_long)

    def _send_batch(self, batch: Sequence[bytes]) -> tuple[list[bytes], str]:
        """The records that Firehose did not take in TRIES tries, and why."""
        left, reason = list(batch), ""
        for attempt in range(TRIES):
            if attempt:
                self.sleep(random.uniform(0.5, 1.0) * _BACKOFF_S * 2**attempt)
            left, reason = self._try(left)
            if not left:
                break
        return left, reason

    def _try(self, batch: Sequence[bytes]) -> tuple[list[bytes], str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self.firehose.put_record_batch(
                DeliveryStreamName=self.stream, Records=[{"Data": record} for record in batch]
            )
        except (BotoCoreError, ClientError) as error:
            return list(batch), str(error)
        # The call succeeds although single records were refused.
        entries = zip(batch, answer["RequestResponses"], strict=True)
        failed = [(record, entry) for record, entry in entries if entry.get("ErrorCode")]
        reason = f"{failed[0][1]['ErrorCode']}: {failed[0][1].get('ErrorMessage', '')}" if failed else ""
        return [record for record, _ in failed], reason


def _fitting(packed: Iterable[bytes], too_long: list[bytes]) -> Iterator[bytes]:
    for record in packed:
        if len(record) > LARGEST_RECORD:
            too_long.append(record)
        else:
            yield record
