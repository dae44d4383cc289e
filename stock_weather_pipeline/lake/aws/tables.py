"""Where Iceberg is on AWS: the Glue catalog, and files below `prod/` in the Parquet bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.aws.errors import aws_errors, translated
from stock_weather_pipeline.lake.aws.objects import S3Objects
from stock_weather_pipeline.lake.aws.session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, AwsSession
from stock_weather_pipeline.lake.iceberg import IcebergTables, Storage
from stock_weather_pipeline.lake.iceberg_maintenance import StoredFile
from stock_weather_pipeline.lake.layout import PROD_DATABASE

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

PREFIX = "prod/"
# How Arrow spells what S3 answered.
_ARROW_CODES = {
    "ACCESS_DENIED": "AccessDenied",
    "EXPIRED_TOKEN": "ExpiredToken",
    "INTERNAL_FAILURE": "InternalError",
    "INVALID_ACCESS_KEY_ID": "InvalidAccessKeyId",
    "NETWORK_CONNECTION": "ServiceUnavailable",
    "NO_SUCH_BUCKET": "NoSuchBucket",
    "REQUEST_TIMEOUT": "RequestTimeout",
    "SERVICE_UNAVAILABLE": "ServiceUnavailable",
    "SLOW_DOWN": "SlowDown",
    "THROTTLING": "Throttling",
}


def glue_tables(session: AwsSession, objects: S3Objects) -> IcebergTables:
    """The prod tables in the Glue catalog. The database is the stack's; it is not created here."""

    def open_catalog() -> Catalog:
        from pyiceberg.catalog.glue import GlueCatalog

        properties = {
            "warehouse": objects.uri(PREFIX),
            "py-io-impl": "stock_weather_pipeline.lake.aws.file_io.MetadataOnceFileIO",
            "s3.region": session.region,
            "s3.connect-timeout": str(CONNECT_TIMEOUT_S),
            "s3.request-timeout": str(READ_TIMEOUT_S),
        }
        if session.s3_endpoint is not None:
            properties["s3.endpoint"] = session.s3_endpoint
        return GlueCatalog("glue", client=session.glue, **properties)

    def errors() -> AbstractContextManager[None]:
        return aws_errors(f"use the catalog of {PROD_DATABASE}")

    def list_files(location: str) -> Iterator[StoredFile]:
        prefix = f"{location.removeprefix(objects.uri('prod/')).strip('/')}/"
        for item in objects.list(PREFIX + prefix):
            yield StoredFile(objects.uri(item.key), item.modified_at, item.size_bytes)

    return IcebergTables(
        Storage(
            open_catalog=open_catalog,
            errors=errors,
            file_error=_file_error,
            list_files=list_files,
            location=lambda name: objects.uri(f"{PREFIX}{name}"),
        )
    )


def _file_error(verb: str, where: str, error: OSError) -> LakeError:
    text = str(error).splitlines()[0]
    code = re.search(r"AWS Error ([A-Z_]+)", text)
    status = re.search(r"HTTP status (\d{3})", text)
    found = _ARROW_CODES.get(code.group(1), "") if code else ""
    return translated(f"{verb} {where}", found or (status.group(1) if status else ""), text)
