"""Grafana's files are those made from the panels, are in order on a real lake, and a wrong one is noticed."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
import yaml  # type: ignore[import-untyped]

from infra.grafana.names import DATASOURCE_UID, FOLDER
from infra.grafana.verify import (
    Run,
    Shown,
    add_query_costs,
    alert_file,
    alert_problems,
    dashboard_files,
    dashboard_problems,
    expanded,
    read,
)
from stock_weather_pipeline.lake.aws.cost import QUERY_COSTS
from stock_weather_pipeline_tests.homes import Home
from stock_weather_pipeline_tests.lakes import local_lake

Values = dict[str, Any]
SHOWN = Shown(date(2024, 6, 3), date(2024, 6, 7), {"ticker": "NVDA", "location": "New York"})


@pytest.fixture(scope="module")
def run(finished: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The local engine on a week of simulated data; a statement that was answered is not asked again."""
    costs = local_lake(tmp_path_factory.mktemp("costs"))
    add_query_costs(costs, SHOWN.first)
    with finished.opened() as (_, lake, _instance):
        # What the sandbox has of the newest days is not in this lake: the variable's window is moved to its week.
        @cache
        def query(sql: str) -> pa.Table:
            if QUERY_COSTS.qualified_name in sql:
                return costs.engine.query(sql)
            return lake.engine.query(re.sub(r"date_add\('day', -30, [^,]*?\)\)", "DATE '2024-05-08'", sql))

        yield query


@pytest.fixture
def stocks() -> Values:
    return read(FOLDER / "dashboards" / "stock-weather.json")


# The library imports its own deprecated schemas.
@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="The library that writes the dashboards needs Python 3.11.")
def test_the_files_in_the_repository_are_those_made_from_the_panels() -> None:
    from infra.grafana.generate import files

    written = files()
    assert {path: path.read_text(encoding="utf-8") for path in written} == written
    assert {path for path in written if path.parent.name == "dashboards"} == set(dashboard_files())


@pytest.mark.parametrize("name", [path.name for path in dashboard_files()])
def test_every_dashboard_is_in_order(run: Run, name: str) -> None:
    assert dashboard_problems(read(FOLDER / "dashboards" / name), run, SHOWN) == []


def test_the_alert_rules_are_in_order(run: Run) -> None:
    assert alert_problems(read(alert_file()), run, date(2024, 6, 8)) == []


def panel(values: Values, title: str) -> Values:
    return next(found for found in values["panels"] if found.get("title") == title)


def sql(values: Values, title: str, *changes: tuple[str, str]) -> None:
    target = panel(values, title)["targets"][0]
    for before, after in changes:
        assert before in target["rawSQL"]
        target["rawSQL"] = target["rawSQL"].replace(before, after)


def override(values: Values, title: str, field: str) -> Values:
    found: Values = next(
        one for one in panel(values, title)["fieldConfig"]["overrides"] if one["matcher"]["options"] == field
    )
    return found


def without(values: Values, title: str, field: str, name: str) -> None:
    one = override(values, title, field)
    one["properties"] = [item for item in one["properties"] if item["id"] != name]


MANY_ROWS = (
    "SELECT date_add('day', CAST(n AS INTEGER), DATE '2000-01-01') AS trade_date, n AS volume, 'NVDA' AS ticker "
    "FROM UNNEST(sequence(1, 6000)) AS t (n) ORDER BY n"
)
MUTATIONS: dict[str, tuple[Callable[[Values], Any], str]] = {
    "two panels with one id": (lambda d: panel(d, "Price").update(id=4), "share the id 4"),
    "a panel without an id": (lambda d: panel(d, "Price").pop("id"), "have the id None"),
    "a row with the id 0": (lambda d: panel(d, "Weather").update(id=0), "have the id 0"),
    "overlapping panels": (lambda d: panel(d, "Splits")["gridPos"].update(y=5), "overlap"),
    "a panel beyond the edge": (lambda d: panel(d, "MACD")["gridPos"].update(x=13), "outside the 24 columns"),
    "no description": (lambda d: panel(d, "MACD").pop("description"), "has no description"),
    "no title": (lambda d: panel(d, "MACD").update(title=""), "has no title"),
    "a field without its unit": (lambda d: without(d, "Volume", "volume", "unit"), "the unit of volume is None"),
    "an unknown unit": (
        lambda d: override(d, "Volume", "volume")["properties"].append({"id": "unit", "value": "pieces"}),
        "the unit of volume is pieces",
    ),
    "a misspelled field": (
        lambda d: override(d, "MACD", "signal")["matcher"].update(options="signel"),
        "settings are for signel",
    ),
    "a column renamed in the query": (
        lambda d: sql(d, "MACD", (" signal,", " signal AS s,")),
        "settings are for signal",
    ),
    "a column that is not there": (lambda d: sql(d, "MACD", ("signal", "trigger_line")), "trigger_line"),
    "a number sent as text": (
        lambda d: sql(d, "Volume", (" volume ", " ticker AS volume ")),
        "volume has a unit and is no number",
    ),
    "a number sent as DECIMAL": (
        lambda d: sql(d, "Volume", (" volume ", " CAST(volume AS DECIMAL(18, 2)) AS volume ")),
        "arrives as text",
    ),
    "candles of a missing field": (
        lambda d: panel(d, "Price")["options"]["fields"].update(close="last"),
        "draws last",
    ),
    "a candle without its low": (lambda d: panel(d, "Price")["options"]["fields"].pop("low"), "a candle needs"),
    "a scatter of text": (
        lambda d: panel(d, "Daily change against temperature")["options"]["series"][0]["x"]["matcher"].update(
            options="location"
        ),
        "draws location",
    ),
    "a band down to nothing": (
        lambda d: [
            item.update(value="Lower")
            for item in override(d, "Bollinger Bands", "upper_band")["properties"]
            if item["id"] == "custom.fillBelowTo"
        ],
        "filled down to Lower",
    ),
    "two fields with one name": (
        lambda d: override(d, "MACD", "signal")["properties"][0].update(value="Histogram"),
        "2 fields are called Histogram",
    ),
    "times descend": (
        lambda d: sql(
            d, "Volume", ("trade_date", "trade_date"), ("ORDER BY ticker, trade_date", "ORDER BY trade_date DESC")
        ),
        "does not ascend",
    ),
    "days repeat": (
        lambda d: sql(d, "Temperature range", ("location IN (${location:sqlstring}) AND ", "")),
        "does not ascend",
    ),
    "no column of time": (lambda d: sql(d, "Volume", ("trade_date, volume", "volume")), "one column of time and has 0"),
    "no bound on the days": (
        lambda d: sql(d, "Volume", (" AND $__dateFilter(trade_date)", "")),
        "read without bounds",
    ),
    "a bound that does not bind": (
        lambda d: sql(d, "Volume", (" AND $__dateFilter(trade_date)", " OR $__dateFilter(trade_date)")),
        "read without bounds",
    ),
    "a filter on a column that is no day": (
        lambda d: sql(d, "Volume", ("$__dateFilter(trade_date)", "$__dateFilter(ticker)")),
        "Volume: ",
    ),
    "a filter of times on days": (
        lambda d: sql(d, "Volume", ("$__dateFilter", "$__timeFilter")),
        "$__timeFilter is not for days",
    ),
    "an unquoted variable": (lambda d: sql(d, "Volume", ("${ticker:sqlstring}", "'$ticker'")), "is not quoted"),
    "a variable in another form": (lambda d: sql(d, "Volume", (":sqlstring", ":csv")), "is not quoted"),
    "an undefined variable": (
        lambda d: d["templating"]["list"].pop(0),
        "the variable ticker is not defined",
    ),
    "a variable read from all days": (
        lambda d: d["templating"]["list"][0]["query"].update(rawSQL="SELECT DISTINCT ticker FROM stock_prices"),
        "read without bounds",
    ),
    "SQL of another engine": (
        lambda d: sql(d, "Volume", (" volume ", " volume::DOUBLE AS volume ")),
        ":: is not allowed",
    ),
    "a function of another engine": (
        lambda d: sql(d, "Volume", (" volume ", " ifnull(volume, 0) AS volume ")),
        "coalesce",
    ),
    "a table that is not there": (lambda d: sql(d, "Volume", ("stock_prices_adjusted", "prices")), "prices"),
    "another ticker's rows": (lambda d: sql(d, "Volume", ("${ticker:sqlstring}", "'NOSUCH'")), "shows nothing"),
    "very many rows": (
        lambda d: panel(d, "Volume")["targets"][0].update(rawSQL=MANY_ROWS),
        "6000 rows",
    ),
    "refreshing itself": (lambda d: d.update(refresh="30s"), "refreshes itself every 30s"),
    "another time zone": (lambda d: d.update(timezone="browser"), "is not utc"),
    "a second data source": (
        lambda d: panel(d, "Volume")["targets"][0]["datasource"].update(uid="other"),
        "not from the one data source",
    ),
    "a variable from elsewhere": (
        lambda d: d["templating"]["list"][0]["datasource"].update(uid="other"),
        "not from the one data source",
    ),
    "a result as time series": (lambda d: panel(d, "Volume")["targets"][0].update(format=0), "is not a table"),
    "two queries": (
        lambda d: panel(d, "Volume")["targets"].append(copy.deepcopy(panel(d, "Volume")["targets"][0])),
        "has 2 queries",
    ),
    "no uid": (lambda d: d.pop("uid"), "has no uid"),
    "no panel": (lambda d: d.update(panels=[p for p in d["panels"] if p["type"] == "row"]), "has no panel"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_dashboard_is_noticed(run: Run, stocks: Values, name: str) -> None:
    change, problem = MUTATIONS[name]
    change(stocks)
    found = dashboard_problems(stocks, run, SHOWN)
    assert any(problem in one for one in found), found


def step(rules: Values, n: int) -> Values:
    found: Values = rules["groups"][0]["rules"][0]["data"][n]
    return found


ALERT_MUTATIONS: dict[str, tuple[Callable[[Values], Any], str]] = {
    "a single dollar": (
        lambda r: r["groups"][0]["rules"][0]["annotations"].update(summary="{{ $values.A }}"),
        "a $ is not doubled",
    ),
    "one uid twice": (lambda r: r["groups"][0]["rules"][1].update(uid="stale-data"), "2 rules have this uid"),
    "silence without data": (lambda r: r["groups"][0]["rules"][0].update(noDataState="OK"), "no data is no alert"),
    "another condition": (lambda r: r["groups"][0]["rules"][0].update(condition="C"), "none of its steps"),
    "a threshold on nothing": (lambda r: step(r, 1)["model"].update(expression="C"), "judges C"),
    "no threshold": (lambda r: step(r, 1)["model"].update(conditions=[]), "has no threshold"),
    "another source": (lambda r: step(r, 0).update(datasourceUid="other"), "reads from other"),
    "more than one number": (
        lambda r: step(r, 0)["model"].update(rawSQL="SELECT max(trade_date) AS day, 1 AS one FROM stock_prices"),
        "not one number",
    ),
    "a scan of everything": (
        lambda r: step(r, 0)["model"].update(rawSQL="SELECT count(close) AS n FROM stock_prices"),
        "read without bounds",
    ),
}


@pytest.mark.parametrize("name", ALERT_MUTATIONS)
def test_a_wrong_alert_rule_is_noticed(run: Run, name: str) -> None:
    change, problem = ALERT_MUTATIONS[name]
    rules = read(alert_file())
    change(rules)
    found = alert_problems(rules, run, date(2024, 6, 8))
    assert any(problem in one for one in found), found


def test_a_value_with_a_quote_stays_one_value() -> None:
    shown = Shown(date(2024, 6, 3), date(2024, 6, 7), {"ticker": "O'NEIL"})
    text = expanded("x IN (${ticker:sqlstring}) AND $__dateFilter(day)", {"ticker"}, shown)
    assert text == "x IN ('O''NEIL') AND day BETWEEN DATE '2024-06-03' AND DATE '2024-06-07'"


def provisioned(*parts: str) -> Any:
    return yaml.safe_load((FOLDER / "provisioning").joinpath(*parts).read_text(encoding="utf-8"))


def test_the_data_source_is_the_dashboards_and_has_a_role_and_no_key() -> None:
    (source,) = provisioned("datasources", "athena.yaml")["datasources"]
    assert source["uid"] == DATASOURCE_UID
    assert source["jsonData"]["authType"] == "default"
    assert source["jsonData"]["assumeRoleArn"].startswith("${")
    assert "secureJsonData" not in source
    assert not {"accessKey", "secretKey"} & set(source["jsonData"])


def test_alerts_go_to_a_contact_point_that_is_there() -> None:
    (policy,) = provisioned("alerting", "policies.yaml")["policies"]
    names = [point["name"] for point in provisioned("alerting", "contact-points.yaml")["contactPoints"]]
    assert policy["receiver"] in names


def test_compose_pins_versions_and_hands_over_what_provisioning_asks_for() -> None:
    service = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]["grafana"]
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", service["image"])
    environment = service["environment"]
    assert re.fullmatch(r"grafana-athena-datasource@\d+\.\d+\.\d+", environment["GF_PLUGINS_PREINSTALL"])
    assert environment["TZ"] == "UTC"
    texts = [path.read_text(encoding="utf-8") for path in (FOLDER / "provisioning").rglob("*.yaml")]
    asked = {name for text in texts for name in re.findall(r"\$\{(\w+)\}", text)}
    assert asked
    assert asked <= set(environment)
    (provider,) = provisioned("dashboards", "dashboards.yaml")["providers"]
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert {provider["options"]["path"], "/etc/grafana/provisioning"} <= mounted
