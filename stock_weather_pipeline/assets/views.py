"""View assets: the SQL view exists as written in the repository, and how many rows it has for each day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from stock_weather_pipeline.assets.lineage import of_view
from stock_weather_pipeline.assets.previews import chart, last_rows, numbers
from stock_weather_pipeline.assets.reporting import OWNERS, accounted, days_of, materialized
from stock_weather_pipeline.datasets.contract import ColumnType
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.layout import PROD_DATABASE, Day
from stock_weather_pipeline.layers.views import create, newest_rows, read
from stock_weather_pipeline.partitions import partitions_definition
from stock_weather_pipeline.views import VIEWS, View

if TYPE_CHECKING:
    import pyarrow as pa


def view_asset(view: View, start: date) -> dg.AssetsDefinition:
    """`views/<name>`, depending on the tables and views its SQL names."""

    @dg.asset(
        key=["views", view.name],
        deps=[["views" if name in VIEWS else "prod", name] for name in view.depends_on],
        description=f"{view.description}\n\n```sql\n{view.sql}\n```",
        group_name="views",
        owners=OWNERS,
        kinds={"sql", "view"},
        partitions_def=partitions_definition(view.partition_set, start),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=view.code_version,
        metadata={
            "dagster/column_schema": _schema(view, {}),
            "dagster/table_name": f"{PROD_DATABASE}.{view.name}",
        },
    )
    def asset(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
        days = [day for day in days_of(context) if day is not None]
        with accounted(lake, context.run.run_id, context.asset_key.to_user_string()) as cost:
            create(lake, view)
            found = read(lake, view, days)
            history = newest_rows(lake, view, found)
        metadata: dict[Day, dict[str, Any]] = {
            day: {"dagster/partition_row_count": found.per_day[day].rows if day in found.per_day else 0} for day in days
        }
        versions: dict[Day, str] = dict.fromkeys(days, view.code_version)
        about = {
            "preview": last_rows(history),
            "dagster/column_schema": _schema(view, _types(found.sample.schema)),
            "dagster/column_lineage": of_view(view.name),
            **_drawn(view, history),
            **cost,
        }
        return materialized(context, metadata, versions, about)

    return asset


def _schema(view: View, types: Mapping[str, str]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, types.get(name, "known once materialized"), description=comment)
            for name, comment in view.columns.items()
        ]
    )


def _types(schema: "pa.Schema") -> dict[str, str]:
    """What the engine made of each column, as the columns of tables are shown."""
    named = {kind.arrow: kind.value.lower() for kind in ColumnType}
    return {field.name: named.get(field.type, str(field.type)) for field in schema}


def _drawn(view: View, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The chart and the newest numbers of the columns that have a unit; none without rows."""
    if not rows:
        return {}
    first, last = (rows[n][view.day_column] for n in (0, -1))
    named = ", ".join(str(rows[-1][column]) for column in view.key if column != view.day_column)
    return {"chart": chart(f"{named}: {first} to {last}", rows, view.units), **numbers(rows[-1], view.units)}
