"""The command line on AWS leaves the tables and views that it leaves on a folder, and says what its queries cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from stock_weather_pipeline.sandbox import Sandbox
from stock_weather_pipeline_tests.homes import Home, home_on_aws
from stock_weather_pipeline_tests.lakes import emulated_lake


@pytest.mark.timeout(900)
def test_a_run_on_aws_leaves_the_tables_of_a_run_on_a_folder(finished: Home, vendor: Sandbox, tmp_path: Path) -> None:
    with emulated_lake() as (lake, _):
        home = home_on_aws(tmp_path, vendor.url)
        result = home.invoke("run", "--start", "2024-06-03", "--end", "2024-06-07")
        assert result.exit_code == 0, result.output
        assert "Tables are in s3://stock-weather-parquet" in result.stdout
        assert home.tables() == finished.tables()
        assert home.materialized("views", "macd") == finished.materialized("views", "macd")
        steps = lake.rows("SELECT step, sum(cost_usd) AS usd FROM stock_weather_parquet.query_costs GROUP BY step")
        costs = {row["step"]: row["usd"] for row in steps}
        assert {"parquet/weather", "prod/stock_prices", "views/macd", "checks of views/stock_weather"} <= set(costs)
        assert all(usd > 0 for usd in costs.values())
        with home.opened() as (_settings, _lake, instance):
            import dagster as dg

            event = instance.get_latest_materialization_event(dg.AssetKey(["parquet", "weather"]))
            assert event is not None
            assert event.asset_materialization is not None
            metadata = event.asset_materialization.metadata
            assert {"scanned_bytes", "query_run_time_ms", "query_cost_usd"} <= set(metadata)
