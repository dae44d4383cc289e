"""Where Iceberg is in the local deployment: a SQLite catalog and a folder beside the other data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from stock_weather_pipeline.errors import ConflictError, LakeError
from stock_weather_pipeline.lake.iceberg import IcebergTables, Storage
from stock_weather_pipeline.lake.iceberg_maintenance import StoredFile
from stock_weather_pipeline.lake.layout import PROD_DATABASE
from stock_weather_pipeline.lake.local_objects import storage_error

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog


def local_tables(folder: Path) -> IcebergTables:
    """The prod tables of the lake in `folder`."""
    return IcebergTables(
        Storage(
            open_catalog=lambda: local_catalog(folder),
            errors=_catalog_errors,
            file_error=lambda verb, where, error: storage_error(verb, Path(where), error),
            list_files=local_files,
        )
    )


def local_catalog(folder: Path) -> Catalog:
    """The SQLite catalog, created on first use with the prod database. Raises LakeError when it cannot be opened."""
    from pyiceberg.catalog.sql import SqlCatalog
    from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

    path = folder / "catalog" / "iceberg.db"

    def connect() -> Catalog:
        # A path, not a URI: PyIceberg would take %20 in a URI for part of a folder's name.
        return SqlCatalog("local", uri=f"sqlite:///{path}?timeout=30", warehouse=str(folder / "prod"))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            catalog = connect()
        except OperationalError:
            catalog = connect()  # another process made the same tables at this moment
    except OSError as error:
        raise storage_error("open", path, error) from error
    except SQLAlchemyError as error:
        raise LakeError(
            f"The catalog {path} cannot be opened ({getattr(error, 'orig', error)}): restore it from a backup, or move "
            f"{folder} away and run again."
        ) from error
    with _catalog_errors():
        try:
            catalog.create_namespace_if_not_exists(PROD_DATABASE)
        except IntegrityError:
            catalog.create_namespace_if_not_exists(PROD_DATABASE)  # another process made it at this moment
    return catalog


def local_files(location: str) -> Iterator[StoredFile]:
    """Every file below a folder. A file that is deleted meanwhile is left out."""
    folder = Path(location.removeprefix("file://"))
    for path in folder.rglob("*"):
        try:
            if not path.is_file():
                continue
            stat = path.stat()
        except FileNotFoundError:
            continue
        relative = path.relative_to(folder).as_posix()
        modified_at = datetime.fromtimestamp(stat.st_mtime, timezone.utc)
        yield StoredFile(f"{location.rstrip('/')}/{relative}", modified_at, stat.st_size)


@contextmanager
def _catalog_errors() -> Iterator[None]:
    """Errors of the catalog's database in a sentence; ConflictError when another process holds it."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error))
        if "locked" in reason:
            raise ConflictError(
                f"Another process holds the catalog of {PROD_DATABASE} ({reason}): run again."
            ) from error
        raise LakeError(
            f"The catalog of {PROD_DATABASE} cannot be used ({reason}): free disk space, make it writable, or restore "
            "it from a backup."
        ) from error
