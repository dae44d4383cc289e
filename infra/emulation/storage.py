"""The objects of the emulated S3 for the other emulated services: read and written in process, uncounted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeDeleteMarker, s3_backends

if TYPE_CHECKING:
    from moto.s3.models import FakeKey, S3Backend


@dataclass(frozen=True)
class StoredFile:
    uri: str
    size_bytes: int


class Storage:
    """S3 by URI (`s3://bucket/key`). What DuckDB or PyIceberg read is put into a local folder first, once a version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, uri: str) -> bytes:
        """Raises FileNotFoundError where there is no such object."""
        return bytes(self._key(uri).value)

    def exists(self, uri: str) -> bool:
        try:
            self._key(uri)
        except FileNotFoundError:
            return False
        return True

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = _split(uri)
        try:
            self._backend.put_object(bucket, key, data)
        except MissingBucket:
            raise FileNotFoundError(uri) from None

    def list(self, prefix_uri: str) -> list[StoredFile]:
        """The objects whose URI begins with `prefix_uri`, by key. Raises FileNotFoundError where there is no bucket."""
        bucket_name, prefix = _split(prefix_uri)
        try:
            keys = self._backend.get_bucket(bucket_name).keys
        except MissingBucket:
            raise FileNotFoundError(prefix_uri) from None
        found = [
            StoredFile(f"s3://{bucket_name}/{name}", int(key.size))
            for name, key in keys.items()
            if name.startswith(prefix) and not isinstance(key, FakeDeleteMarker)
        ]
        return sorted(found, key=lambda file: file.uri)

    def local_copy(self, uri: str) -> Path:
        """A local file with the object's bytes, which keeps its name's ending."""
        key = self._key(uri)
        name = hashlib.sha256(f"{uri}\n{key.etag}".encode()).hexdigest()[:32]
        path = self._folder / f"{name}{Path(uri).suffix}"
        if not path.exists():
            temporary = path.with_suffix(f".{id(key)}.part")
            temporary.write_bytes(key.value)
            temporary.replace(path)
        return path

    def _key(self, uri: str) -> FakeKey:
        bucket, name = _split(uri)
        try:
            key = self._backend.get_object(bucket, name)
        except MissingBucket:
            key = None
        if key is None or isinstance(key, FakeDeleteMarker):
            raise FileNotFoundError(uri)
        return key

    @property
    def _backend(self) -> S3Backend:
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def _split(uri: str) -> tuple[str, str]:
    parsed = urlparse(uri)
    if parsed.scheme not in ("s3", "s3a", "s3n") or not parsed.netloc:
        raise ValueError(f"{uri} is not s3://bucket/key")
    # urlparse would take ? and # in a key for more than a part of the path.
    return parsed.netloc, uri.split("://", 1)[1].partition("/")[2]
