"""Definitions in the Glue Data Catalog: external tables, where their partitions are, and views.

A raw file's place follows from its day, so partitions of raw tables are projected and nobody registers them. A day of a
Parquet table is where its partition points, at the files of the attempt that wrote it last.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

from stock_weather_pipeline.datasets.contract import Column, ColumnType
from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.aws.athena import Athena
from stock_weather_pipeline.lake.aws.cost import QUERY_COSTS
from stock_weather_pipeline.lake.aws.errors import aws_errors, translated
from stock_weather_pipeline.lake.aws.objects import S3Objects
from stock_weather_pipeline.lake.aws.session import AwsSession
from stock_weather_pipeline.lake.layout import DAY_COLUMNS, PROD_DATABASE, Day, ExternalTable, Layer, ViewDefinition
from stock_weather_pipeline.settings import EARLIEST_DAY

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import StorageDescriptorTypeDef, TableInputTypeDef

# Limits of Glue's batch calls.
_GOT_AT_ONCE = 1000
_PUT_AT_ONCE = 100
_DELETED_AT_ONCE = 25

_LAST_YEAR = 2100
_SQL = "stock_weather_sql"
_HIVE_TYPES = {
    ColumnType.STRING: "string",
    ColumnType.DOUBLE: "double",
    ColumnType.INTEGER: "int",
    ColumnType.BIGINT: "bigint",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DATE: "date",
    ColumnType.TIMESTAMP: "timestamp",
}
_TYPES = {hive: kind for kind, hive in _HIVE_TYPES.items()}
_READ_ONLY = frozenset(
    {
        "CatalogId",
        "CreateTime",
        "CreatedBy",
        "DatabaseName",
        "FederatedTable",
        "IsMaterializedView",
        "IsMultiDialectView",
        "IsRegisteredWithLakeFormation",
        "Status",
        "UpdateTime",
        "VersionId",
    }
)

_Item = TypeVar("_Item")


class GlueCatalog:
    """The databases of the stack; they are not created here."""

    def __init__(self, session: AwsSession, objects: S3Objects, athena: Athena) -> None:
        self._session = session
        self._objects = objects
        self._athena = athena

    def put_table(self, table: ExternalTable) -> None:
        found = self._get(table.database, table.name)
        if found is not None and _external_table(found) == table:
            return
        content = self._table_input(table)
        with aws_errors(f"define {table.qualified_name}"):
            if found is not None:
                if not table.partitioned and found.get("StorageDescriptor", {}).get("Location"):
                    # Where the rows are now; only what they mean is defined anew.
                    content["StorageDescriptor"]["Location"] = found["StorageDescriptor"]["Location"]
                self._session.glue.update_table(DatabaseName=table.database, TableInput=content)
                return
            with suppress(self._session.glue.exceptions.AlreadyExistsException):  # another process was faster
                self._session.glue.create_table(DatabaseName=table.database, TableInput=content)

    def get_table(self, database: str, name: str) -> ExternalTable | None:
        found = self._get(database, name)
        return None if found is None else _external_table(found)

    def put_view(self, view: ViewDefinition) -> None:
        if self.get_view(view.name) == view:
            return
        # Athena finds out the columns and their types; comments and our own text are added after.
        self._athena.wait(self._athena.start(f'CREATE OR REPLACE VIEW {PROD_DATABASE}."{view.name}" AS {view.sql}'))
        made = self._get(PROD_DATABASE, view.name)
        if made is None:
            raise LakeError(f"The view {view.name} was dropped while it was made: run again.")
        content = {key: value for key, value in made.items() if key not in _READ_ONLY}
        comments = dict(view.column_comments)
        content["Description"] = view.comment
        content["Parameters"] = {**made.get("Parameters", {}), _SQL: view.sql}
        descriptor = made["StorageDescriptor"]
        content["StorageDescriptor"] = {
            **descriptor,
            "Columns": [
                {**column, "Comment": comments[column["Name"]]} if column["Name"] in comments else column
                for column in descriptor["Columns"]
            ],
        }
        with aws_errors(f"define {PROD_DATABASE}.{view.name}"):
            self._session.glue.update_table(DatabaseName=PROD_DATABASE, TableInput=content)  # type: ignore[arg-type]

    def get_view(self, name: str) -> ViewDefinition | None:
        found = self._get(PROD_DATABASE, name)
        if found is None or found.get("TableType") != "VIRTUAL_VIEW":
            return None
        columns = found.get("StorageDescriptor", {}).get("Columns", [])
        comments = tuple((column["Name"], column["Comment"]) for column in columns if column.get("Comment"))
        # Without our own text somebody else has made the view since.
        sql = found.get("Parameters", {}).get(_SQL) or _presto_sql(found.get("ViewOriginalText", ""))
        return ViewDefinition(name, sql, found.get("Description", ""), comments)

    def names(self, database: str) -> list[str]:
        with aws_errors(f"list the tables of {database}"):
            pages = self._session.glue.get_paginator("get_tables").paginate(DatabaseName=database)
            return sorted(table["Name"] for page in pages for table in page["TableList"])

    def locations(self, table: ExternalTable, days: Sequence[Day]) -> dict[Day, str]:
        """Where the rows of these days are; a day without rows is left out."""
        if not table.partitioned:
            found = self._get(table.database, table.name)
            return {} if found is None else {None: str(found["StorageDescriptor"]["Location"])}
        locations: dict[Day, str] = {}
        for chunk in _chunks(list(days), _GOT_AT_ONCE):
            with (
                aws_errors(f"read the partitions of {table.qualified_name}"),
                suppress(self._session.glue.exceptions.EntityNotFoundException),
            ):
                answer = self._session.glue.batch_get_partition(
                    DatabaseName=table.database,
                    TableName=table.name,
                    PartitionsToGet=[{"Values": _values(day)} for day in chunk],
                )
                locations.update(_located(answer.get("Partitions", [])))
        return locations

    def all_locations(self, table: ExternalTable) -> dict[Day, str]:
        """Where the rows of every day are."""
        if not table.partitioned:
            return self.locations(table, [None])
        locations: dict[Day, str] = {}
        with (
            aws_errors(f"list the partitions of {table.qualified_name}"),
            suppress(self._session.glue.exceptions.EntityNotFoundException),
        ):
            pages = self._session.glue.get_paginator("get_partitions").paginate(
                DatabaseName=table.database, TableName=table.name, ExcludeColumnSchema=True
            )
            for page in pages:
                locations.update(_located(page.get("Partitions", [])))
        return locations

    def point(self, table: ExternalTable, locations: Mapping[Day, str | None]) -> None:
        """Let each day's rows be those at its new location, None for no rows. Each day changes at once."""
        found = self._get(table.database, table.name)
        if found is None:
            raise LakeError(f"There is no table {table.qualified_name}: materialize catalog/{table.name} first.")
        descriptor = found["StorageDescriptor"]
        if not table.partitioned:
            (location,) = locations.values()
            content = {key: value for key, value in found.items() if key not in _READ_ONLY}
            content["StorageDescriptor"] = {**descriptor, "Location": location}
            with aws_errors(f"point {table.qualified_name} at {location}"):
                self._session.glue.update_table(DatabaseName=table.database, TableInput=content)  # type: ignore[arg-type]
            return
        held = self.locations(table, [*locations])
        filled = {day: location for day, location in locations.items() if location is not None}
        self._put(table, descriptor, {day: at for day, at in filled.items() if day not in held}, new=True)
        self._put(table, descriptor, {day: at for day, at in filled.items() if day in held}, new=False)
        self._delete(table, [day for day, location in locations.items() if location is None and day in held])

    def _put(
        self, table: ExternalTable, descriptor: StorageDescriptorTypeDef, locations: Mapping[Day, str], *, new: bool
    ) -> None:
        for chunk in _chunks(list(locations), _PUT_AT_ONCE):
            inputs: list[Any] = [
                {"Values": _values(day), "StorageDescriptor": {**descriptor, "Location": locations[day]}}
                for day in chunk
            ]
            where: dict[str, Any] = {"DatabaseName": table.database, "TableName": table.name}
            with aws_errors(f"point partitions of {table.qualified_name}"):
                if new:
                    answer: Any = self._session.glue.batch_create_partition(**where, PartitionInputList=inputs)
                else:
                    entries: Any = [{"PartitionValueList": i["Values"], "PartitionInput": i} for i in inputs]
                    answer = self._session.glue.batch_update_partition(**where, Entries=entries)
            # Another writer may have made or deleted the same day since; then it is the other call's turn.
            other = "AlreadyExistsException" if new else "EntityNotFoundException"
            again: dict[Day, str] = {}
            for error in answer.get("Errors", []):
                values = error.get("PartitionValues") or error.get("PartitionValueList")
                detail = error["ErrorDetail"]
                if detail.get("ErrorCode") != other:
                    raise translated(
                        f"point {table.qualified_name} {'-'.join(values)}",
                        detail.get("ErrorCode", ""),
                        detail.get("ErrorMessage", ""),
                    )
                day = _day(values)
                again[day] = locations[day]
            if again:
                self._put(table, descriptor, again, new=not new)

    def _delete(self, table: ExternalTable, days: Sequence[Day]) -> None:
        for chunk in _chunks(list(days), _DELETED_AT_ONCE):
            with aws_errors(f"delete partitions of {table.qualified_name}"):
                answer = self._session.glue.batch_delete_partition(
                    DatabaseName=table.database,
                    TableName=table.name,
                    PartitionsToDelete=[{"Values": _values(day)} for day in chunk],
                )
            for error in answer.get("Errors", []):
                detail = error.get("ErrorDetail", {})
                if detail.get("ErrorCode") != "EntityNotFoundException":
                    what = f"delete {table.qualified_name} {'-'.join(error.get('PartitionValues', []))}"
                    raise translated(what, detail.get("ErrorCode", ""), detail.get("ErrorMessage", ""))

    def _get(self, database: str, name: str) -> dict[str, Any] | None:
        with aws_errors(f"read the definition of {database}.{name}"):
            try:
                return dict(self._session.glue.get_table(DatabaseName=database, Name=name)["Table"])
            except self._session.glue.exceptions.EntityNotFoundException:
                return None

    def _table_input(self, table: ExternalTable) -> TableInputTypeDef:
        location = self._objects.uri(table.prefix)
        csv = table.layer is Layer.RAW
        parameters = {"EXTERNAL": "TRUE", "classification": "csv" if csv else "parquet"}
        if csv:
            parameters["skip.header.line.count"] = "1"
        if table.partitioned and is_projected(table):
            parameters |= {
                "projection.enabled": "true",
                "storage.location.template": f"{location}year=${{year}}/month=${{month}}/day=${{day}}/",
            }
            for name, last, digits in zip(DAY_COLUMNS, (_LAST_YEAR, 12, 31), (4, 2, 2), strict=True):
                first = EARLIEST_DAY.year if name == "year" else 1
                parameters |= {
                    f"projection.{name}.type": "integer",
                    f"projection.{name}.range": f"{first},{last}",
                    f"projection.{name}.digits": str(digits),
                }
        return {
            "Name": table.name,
            "Description": table.comment,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": parameters,
            "PartitionKeys": [{"Name": name, "Type": "string"} for name in DAY_COLUMNS] if table.partitioned else [],
            "StorageDescriptor": {
                "Columns": [_column(column) for column in table.columns],
                "Location": location,
                **(_CSV if csv else _PARQUET),  # type: ignore[typeddict-item]
            },
        }


def is_projected(table: ExternalTable) -> bool:
    """Whether the place of a day's files follows from the day."""
    return table.layer is Layer.RAW or table == QUERY_COSTS


_CSV = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.serde2.OpenCSVSerde",
        "Parameters": {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\\"},
    },
}
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}


def _column(column: Column) -> Any:
    bounds = {"unit": column.unit, "minimum": column.minimum, "maximum": column.maximum, "pattern": column.pattern}
    parameters = {name: str(value) for name, value in bounds.items() if value not in (None, "")}
    parameters["nullable"] = str(column.nullable).lower()
    return {
        "Name": column.name,
        "Type": _HIVE_TYPES[column.type],
        "Comment": column.comment,
        "Parameters": parameters,
    }


def _external_table(found: Mapping[str, Any]) -> ExternalTable | None:
    """A table as the catalog has it, whoever defined it; None for what is no external table of a layer."""
    layers = {layer.database: layer for layer in Layer}
    if found["DatabaseName"] not in layers:
        return None
    columns = []
    for column in found.get("StorageDescriptor", {}).get("Columns", []):
        held = column.get("Parameters", {})
        columns.append(
            Column(
                name=column["Name"],
                type=_TYPES.get(column["Type"], ColumnType.STRING),
                comment=column.get("Comment", ""),
                unit=held.get("unit", ""),
                nullable=held.get("nullable") == "true",
                minimum=float(held["minimum"]) if "minimum" in held else None,
                maximum=float(held["maximum"]) if "maximum" in held else None,
                pattern=held.get("pattern"),
            )
        )
    return ExternalTable(
        dataset=found["Name"],
        layer=layers[found["DatabaseName"]],
        columns=tuple(columns),
        partitioned=bool(found.get("PartitionKeys")),
        comment=found.get("Description", ""),
    )


def _presto_sql(text: str) -> str:
    encoded = text.removeprefix("/* Presto View: ").removesuffix(" */").strip()
    try:
        return str(json.loads(base64.b64decode(encoded))["originalSql"])
    except (ValueError, KeyError, TypeError):
        return ""


def _values(day: Day) -> list[str]:
    if day is None:
        raise ValueError("a table with partitions has no part without a day")
    return [f"{day:%Y}", f"{day:%m}", f"{day:%d}"]


def _day(values: Sequence[str]) -> date:
    return date(*(int(value) for value in values))


def _located(partitions: Sequence[Any]) -> Iterator[tuple[Day, str]]:
    for partition in partitions:
        yield _day(partition["Values"]), partition["StorageDescriptor"]["Location"]


def _chunks(items: list[_Item], size: int) -> Iterator[list[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
