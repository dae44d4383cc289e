"""Objects in a folder. Files appear whole or not at all: written beside their place, then renamed over it."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import StoredObject

_PARTIAL = ".partial"


class LocalObjects:
    """Objects below `root`; a key is a path relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root_uri = root.as_uri()

    def path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise LakeError(f"{key!r} is not a key inside {self.root}.")
        return self.root / key

    def read(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            raise storage_error("read", self.path(key), error) from error

    def read_start(self, key: str, size_bytes: int) -> bytes:
        try:
            with self.path(key).open("rb") as file:
                return file.read(size_bytes)
        except OSError as error:
            raise storage_error("read", self.path(key), error) from error

    def write(self, key: str, data: bytes) -> str:
        path = self.path(key)
        partial = path.parent / f".{path.name}.{uuid.uuid4().hex}{_PARTIAL}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            version = _version(partial.stat())
            partial.replace(path)
        except OSError as error:
            # Nothing to remove where not even the folder could be made.
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise storage_error("write", path, error) from error
        return version

    def delete(self, keys: Sequence[str]) -> None:
        path = self.root
        try:
            for path in map(self.path, keys):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error("delete", path, error) from error

    def list(self, prefix: str) -> list[StoredObject]:
        # A prefix may end inside a name, as on S3.
        folder_key = prefix[: prefix.rfind("/") + 1]
        folder = self.path(prefix) if prefix == folder_key else self.path(prefix).parent
        try:
            below = _files(str(folder), folder_key) if folder.is_dir() else []
            found = [_stored(key, entry) for key, entry in below if key.startswith(prefix)]
        except OSError as error:
            raise storage_error("list", folder, error) from error
        return sorted((item for item in found if item is not None), key=lambda item: item.key)

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def uri(self, key: str) -> str:
        # Quoting `=` is allowed, but then nobody can read year=2024/month=01/day=08.
        return f"{self._root_uri}/{quote(key, safe='/=')}"


def _version(stat: os.stat_result) -> str:
    # Every write makes a new file, so the inode tells replaced files apart even within one clock tick.
    return f"{stat.st_mtime_ns}-{stat.st_ino}-{stat.st_size}"


def _files(folder: str, key: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder with its key. Keys are joined as text: thousands of paths would take longer to make."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{key}{entry.name}/")
            elif not entry.name.endswith(_PARTIAL):
                yield key + entry.name, entry


def _stored(key: str, entry: os.DirEntry[str]) -> StoredObject | None:
    try:
        stat = entry.stat()
    except FileNotFoundError:
        return None  # deleted while the folder was read
    return StoredObject(key, stat.st_size, _version(stat), datetime.fromtimestamp(stat.st_mtime, timezone.utc))


def storage_error(verb: str, path: Path, error: OSError) -> LakeError:
    """The sentence for a failed file operation, with the next step where there is one."""
    advice = {
        errno.ENOSPC: "the disk is full; free space or set STOCK_WEATHER_HOME to another disk, then run again",
        errno.EDQUOT: "the disk quota is used up; free space or set STOCK_WEATHER_HOME to another disk, then run again",
        errno.EROFS: "the file system is read-only; set STOCK_WEATHER_HOME to a folder that can be written",
        errno.EACCES: "permission denied; set STOCK_WEATHER_HOME to a folder that you may write",
        errno.EPERM: "permission denied; set STOCK_WEATHER_HOME to a folder that you may write",
        errno.ENOTDIR: "a file is where a folder belongs; move it away, or set STOCK_WEATHER_HOME to a folder",
        errno.EEXIST: "a file is where a folder belongs; move it away, or set STOCK_WEATHER_HOME to a folder",
        errno.ENOENT: "there is no such file",
    }.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
    return LakeError(f"Cannot {verb} {path}: {advice}.")
