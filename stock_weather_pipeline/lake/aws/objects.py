"""Objects on S3. A PUT is whole or not at all, so nothing else is needed for a reader never to see half a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.aws.errors import aws_errors, code_of, translated
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.interfaces import StoredObject

# What is derived from the raw files and can be made again lives in a bucket of its own, with other lifecycle rules.
DERIVED_PREFIXES = ("parquet/", "quarantine/", "prod/")
_DELETED_AT_ONCE = 1000


class S3Objects:
    """Objects in two buckets: derived ones in the Parquet bucket, all others in the raw bucket."""

    def __init__(self, session: AwsSession, raw_bucket: str, parquet_bucket: str) -> None:
        self._session = session
        self._raw_bucket = raw_bucket
        self._parquet_bucket = parquet_bucket

    def bucket(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise LakeError(f"{key!r} is not a key inside s3://{self._raw_bucket}.")
        return self._parquet_bucket if key.startswith(DERIVED_PREFIXES) else self._raw_bucket

    def read(self, key: str) -> bytes:
        bucket = self.bucket(key)
        with aws_errors(f"read s3://{bucket}/{key}"):
            return self._session.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def read_start(self, key: str, size_bytes: int) -> bytes:
        from botocore.exceptions import ClientError

        bucket = self.bucket(key)
        with aws_errors(f"read s3://{bucket}/{key}"):
            try:
                found = self._session.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{size_bytes - 1}")
            except ClientError as error:
                if code_of(error) != "InvalidRange":
                    raise
                return b""  # an empty object has no first byte
            return found["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        bucket = self.bucket(key)
        with aws_errors(f"write s3://{bucket}/{key}"):
            self._session.s3.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, keys: Sequence[str]) -> None:
        by_bucket: dict[str, list[str]] = {}
        for key in keys:
            by_bucket.setdefault(self.bucket(key), []).append(key)
        for bucket, chosen in by_bucket.items():
            for start in range(0, len(chosen), _DELETED_AT_ONCE):
                self._delete(bucket, chosen[start : start + _DELETED_AT_ONCE])

    def list(self, prefix: str) -> list[StoredObject]:
        buckets = {self.bucket(prefix)}
        if any(derived.startswith(prefix) for derived in DERIVED_PREFIXES):
            buckets.add(self._parquet_bucket)
        found = [item for bucket in buckets for item in self._listed(bucket, prefix)]
        return sorted(found, key=lambda item: item.key)

    def exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        bucket = self.bucket(key)
        with aws_errors(f"look for s3://{bucket}/{key}"):
            try:
                self._session.s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code_of(error) not in ("404", "NoSuchKey"):
                    raise
                return False
            return True

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket(key)}/{key}"

    def _listed(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        with aws_errors(f"list s3://{bucket}/{prefix}"):
            for page in self._session.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])

    def _delete(self, bucket: str, keys: Sequence[str]) -> None:
        with aws_errors(f"delete {len(keys)} objects such as s3://{bucket}/{keys[0]}"):
            answer = self._session.s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        # The call succeeds although single objects could not be deleted.
        failed = answer.get("Errors", [])
        if failed:
            first = failed[0]
            what = f"delete s3://{bucket}/{first.get('Key')} ({len(failed)} of {len(keys)} objects)"
            raise translated(what, first.get("Code", ""), first.get("Message", ""))
