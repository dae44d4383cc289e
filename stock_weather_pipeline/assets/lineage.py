"""Column lineage for the UI: copied columns from layer to layer, and columns of a view from what its SQL says."""

from collections.abc import Iterable, Sequence
from functools import cache

import dagster as dg

from stock_weather_pipeline.datasets import DATASETS
from stock_weather_pipeline.views import VIEWS


def copied(upstream: Sequence[str], columns: Iterable[str]) -> dg.TableColumnLineage:
    """Every column comes from the column of the same name upstream."""
    return dg.TableColumnLineage({name: [dg.TableColumnDep(dg.AssetKey(upstream), name)] for name in columns})


@cache
def of_view(name: str) -> dg.TableColumnLineage:
    """Which columns of the tables and views it reads each column of a view is computed from."""
    from sqlglot.lineage import lineage

    view = VIEWS[name]
    schema = {name: dict.fromkeys(_columns(name), "UNKNOWN") for name in view.depends_on}
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column, root in lineage(None, view.sql, schema=schema, dialect="athena").items():
        sources: dict[tuple[str, str], dg.TableColumnDep] = {}
        for node in root.walk():
            table, _, name = node.name.rpartition(".")
            source = node.source.name if not node.downstream else ""
            if table and source in schema and name in schema[source]:
                layer = "views" if source in VIEWS else "prod"
                sources[source, name] = dg.TableColumnDep(dg.AssetKey([layer, source]), name)
        deps[column] = list(sources.values())
    return dg.TableColumnLineage(deps)


def _columns(name: str) -> list[str]:
    return list(VIEWS[name].columns if name in VIEWS else DATASETS[name].column_names)
