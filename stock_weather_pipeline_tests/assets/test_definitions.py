"""A reviewed picture of everything Dagster is told: a change of keys, dependencies or partitions shows here first."""

from __future__ import annotations

import dagster as dg
import pytest

from stock_weather_pipeline.automation.work import LAYERS
from stock_weather_pipeline.checks import all_checks
from stock_weather_pipeline.definitions import build_definitions, defs
from stock_weather_pipeline.partitions import PartitionSet, partitions_definition
from stock_weather_pipeline.settings import load_settings

DEPENDENCIES = {
    "raw/locations": [],
    "raw/stock_prices": [],
    "raw/stock_splits": [],
    "raw/weather": [],
    "catalog/stock_prices": ["raw/stock_prices"],
    "catalog/weather": ["raw/weather"],
    "parquet/stock_prices": ["catalog/stock_prices"],
    "parquet/weather": ["catalog/weather"],
    "prod/locations": ["raw/locations"],
    "prod/stock_prices": ["parquet/stock_prices"],
    "prod/stock_splits": ["raw/stock_splits"],
    "prod/weather": ["parquet/weather"],
    "views/stock_prices_adjusted": ["prod/stock_prices", "prod/stock_splits"],
    "views/daily_change": ["views/stock_prices_adjusted"],
    "views/moving_averages": ["views/stock_prices_adjusted"],
    "views/macd": ["views/stock_prices_adjusted"],
    "views/bollinger_bands": ["views/stock_prices_adjusted"],
    "views/volatility": ["views/stock_prices_adjusted"],
    "views/weather_daily": ["prod/locations", "prod/weather"],
    "views/stock_weather": ["prod/locations", "views/daily_change", "views/weather_daily"],
}
UNPARTITIONED = {"raw/locations", "prod/locations", "raw/stock_splits", "prod/stock_splits"}
DAILY = {"raw/weather", "catalog/weather", "parquet/weather", "prod/weather", "views/weather_daily"}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(load_settings({"sandbox": True}))


def data_assets(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    return {key: spec for key, spec in specs.items() if key in DEPENDENCIES or key.split("/")[0] in _LAYERS}


_LAYERS = ("raw", "catalog", "parquet", "prod", "views")


def test_keys_and_dependencies_are_the_reviewed_ones(definitions: dg.Definitions) -> None:
    found = {
        key: sorted(dep.asset_key.to_user_string() for dep in spec.deps)
        for key, spec in data_assets(definitions).items()
    }
    assert found == DEPENDENCIES


def test_stocks_have_sessions_and_weather_has_days(definitions: dg.Definitions) -> None:
    start = load_settings().start_date
    for key, spec in data_assets(definitions).items():
        if key in UNPARTITIONED:
            assert spec.partitions_def is None, key
        else:
            expected = PartitionSet.DAYS if key in DAILY else PartitionSet.SESSIONS
            assert spec.partitions_def == partitions_definition(expected, start), key


def test_a_range_is_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key, spec in data_assets(definitions).items():
        if spec.partitions_def is not None:
            policy = graph.get(spec.key).backfill_policy
            assert policy is not None, key
            assert policy.max_partitions_per_run is None, key


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    for key, spec in data_assets(definitions).items():
        assert spec.description, key
        assert spec.owners, key
        assert spec.kinds, key
        assert spec.code_version, key
        assert spec.group_name == key.split("/")[0]
        schema = spec.metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert all(column.description for column in schema.columns), key


def test_every_asset_is_checked(definitions: dg.Definitions) -> None:
    checked = {key.asset_key.to_user_string() for key in definitions.resolve_asset_graph().asset_check_keys}
    assert set(DEPENDENCIES) <= checked


def test_status_which_loads_no_definitions_knows_every_check_of_the_layers_and_views(
    definitions: dg.Definitions,
) -> None:
    made = {key for checks in all_checks(load_settings({"sandbox": True})) for key in checks.check_keys}
    known = definitions.resolve_asset_graph().asset_check_keys
    assert made == {key for key in known if key.asset_key.path[0] in (*LAYERS, "views")}


def test_columns_are_traced_from_raw_to_prod(definitions: dg.Definitions) -> None:
    lineage = data_assets(definitions)["prod/stock_prices"].metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineage)
    (source,) = lineage.deps_by_column["close"]
    assert (source.asset_key.path, source.column_name) == (["parquet", "stock_prices"], "close")


def test_the_vendors_and_the_writers_have_pools(definitions: dg.Definitions) -> None:
    pools = {
        node.key.to_user_string(): node.pools
        for node in definitions.resolve_asset_graph().asset_nodes
        if node.key.to_user_string() in DEPENDENCIES
    }
    assert pools["raw/stock_prices"] == pools["raw/stock_splits"] == {"vendor_polygon"}
    assert pools["raw/weather"] == {"vendor_open_meteo"}
    assert pools["prod/weather"] == {"publish_weather"}


def test_every_table_that_grows_has_a_freshness_policy_and_a_calendar_aware_check(definitions: dg.Definitions) -> None:
    specs = data_assets(definitions)
    for name in ("stock_prices", "weather"):
        assert specs[f"prod/{name}"].freshness_policy is not None
        check = dg.AssetCheckKey(dg.AssetKey(["prod", name]), "latest_day_present")
        assert check in definitions.resolve_asset_graph().asset_check_keys


def test_what_the_code_location_loads_is_what_is_built() -> None:
    assert defs().resolve_asset_graph().get_all_asset_keys() >= {dg.AssetKey(key.split("/")) for key in DEPENDENCIES}
