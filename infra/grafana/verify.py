"""Verifies dashboards and alert rules without a server: `python -m infra.grafana.verify`.

Their JSON is read as Grafana reads it: macros and variables are filled in, every statement must be Athena's and is run
on the local engine, and what a panel names must be in the result. Nothing is known here of the panels' description, so
that a file changed by hand is judged like a generated one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.grafana.names import DATASOURCE_TYPE, DATASOURCE_UID, FOLDER, UNITS
from stock_weather_pipeline.errors import QueryError, SqlNotAllowedError
from stock_weather_pipeline.lake import dialect
from stock_weather_pipeline.lake.aws.cost import QUERY_COSTS, QueryCost
from stock_weather_pipeline.lake.aws.cost import rows as cost_rows
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.sources.base import PARTITION_DAY

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 5_000
_COLUMNS = 24
_TABLE_FORMAT = 1
_OVER_TIME = ("timeseries", "candlestick")
_MAY_BE_EMPTY = ("table",)
_REFERENCE_TABLES = ("locations", "stock_splits")
_DAY_COLUMNS = {"trade_date", "local_date", "observed_at", "day"}
_DATE_FILTER = re.compile(r"\$__dateFilter\((\w+)\)")
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)[^\]]*\]\]")


@dataclass(frozen=True)
class Shown:
    """What is looked at: the first and last day of the time range, and the value of each variable."""

    first: date
    last: date
    variables: Mapping[str, str]


Run = Callable[[str], "pa.Table"]


def dashboard_problems(values: Mapping[str, Any], run: Run, shown: Shown) -> list[str]:
    """A sentence for everything that is wrong with a dashboard, given as the values of its JSON."""
    panels = values["panels"]
    variables = values.get("templating", {}).get("list", [])
    defined = {variable["name"] for variable in variables}
    found = [*_of_the_whole(values), *_of_places(panels), *_of_datasources(values)]
    for variable in variables:
        query = variable["query"]
        _, problems = _answered(f"variable {variable['name']}", query, set(), run, shown)
        found += problems
    for panel in panels:
        if panel["type"] != "row":
            found += _of_panel(panel, defined, run, shown)
    return found


def alert_problems(values: Mapping[str, Any], run: Run, today: date) -> list[str]:
    """A sentence for everything that is wrong with a file of alert rules, given as the values of its JSON."""
    rules = [rule for group in values["groups"] for rule in group["rules"]]
    found = [f"{uid}: {n} rules have this uid" for uid, n in Counter(r["uid"] for r in rules).items() if n > 1]
    for rule in rules:
        found += [f"{rule['uid']}: {problem}" for problem in _of_rule(rule, run, today)]
    return found


def _of_the_whole(values: Mapping[str, Any]) -> Iterator[str]:
    for name in ("uid", "title", "description"):
        if not values.get(name):
            yield f"the dashboard has no {name}"
    if values.get("refresh"):
        yield f"it refreshes itself every {values['refresh']}, and its data changes once a day"
    if values.get("timezone") != "utc":
        yield "its time zone is not utc: dates arrive as midnight in UTC"
    if not any(panel["type"] != "row" for panel in values["panels"]):
        yield "it has no panel"


def _of_places(panels: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, count in Counter(panel.get("id") for panel in panels).items():
        if not isinstance(number, int) or number < 1:
            yield f"{count} panels have the id {number}"
        elif count > 1:
            yield f"{count} panels share the id {number}"
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] < 0 or place["y"] < 0 or min(place["w"], place["h"]) < 1 or place["x"] + place["w"] > _COLUMNS:
            yield f"{panel['title']} lies outside the {_COLUMNS} columns"
    for one, other in combinations(panels, 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"{one['title']} and {other['title']} overlap"


def _overlap(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    across = a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
    return across and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def _of_datasources(values: Mapping[str, Any]) -> Iterator[str]:
    panels = [panel for panel in values["panels"] if panel["type"] != "row"]
    named = [(panel["title"], panel.get("datasource")) for panel in panels]
    named += [(panel["title"], target.get("datasource")) for panel in panels for target in panel["targets"]]
    named += [
        (variable["name"], variable.get("datasource")) for variable in values.get("templating", {}).get("list", [])
    ]
    for where, source in named:
        if source != {"type": DATASOURCE_TYPE, "uid": DATASOURCE_UID}:
            yield f"{where} reads from {source}, not from the one data source {DATASOURCE_UID}"


def _of_panel(panel: Mapping[str, Any], defined: set[str], run: Run, shown: Shown) -> list[str]:
    where = panel.get("title") or f"panel {panel.get('id')}"
    if not panel.get("title"):
        return [f"{where} has no title"]
    if not panel.get("description"):
        return [f"{where} has no description"]
    if len(panel["targets"]) != 1:
        return [f"{where} has {len(panel['targets'])} queries, not one"]
    rows, problems = _answered(where, panel["targets"][0], defined, run, shown)
    if rows is None:
        return problems
    if not rows.num_rows and panel["type"] not in _MAY_BE_EMPTY:
        problems.append(f"{where} shows nothing")
    if rows.num_rows >= MOST_ROWS:
        problems.append(f"{where} has {rows.num_rows} rows, {MOST_ROWS} or more")
    return [*problems, *(f"{where}: {problem}" for problem in [*_of_fields(panel, rows), *_of_time(panel, rows)])]


def _answered(
    where: str, query: Mapping[str, Any], defined: set[str], run: Run, shown: Shown
) -> tuple[pa.Table | None, list[str]]:
    """The rows of a query, unless there are none to be had; and what is wrong with it."""
    if query.get("format") != _TABLE_FORMAT:
        return None, [f"{where}: the format of its query is not a table"]
    try:
        sql = expanded(query.get("rawSQL") or "", defined, shown)
        tree = dialect.parse(sql)
        rows = run(sql)
    except (ValueError, SqlNotAllowedError, QueryError) as error:
        return None, [f"{where}: {error}"]
    return rows, [f"{where}: {problem}" for problem in (*_of_scans(tree), *_of_date_filters(query["rawSQL"]))]


def expanded(sql: str, defined: set[str], shown: Shown) -> str:
    """A statement as Grafana sends it. Raises ValueError for a macro or variable that does not belong there."""
    sql = _DATE_FILTER.sub(rf"\1 BETWEEN DATE '{shown.first}' AND DATE '{shown.last}'", sql)
    macro = re.search(r"\$__\w+", sql)
    if macro:
        raise ValueError(f"{macro[0]} is not for days: use $__dateFilter(column)")

    def filled(match: re.Match[str]) -> str:
        name = match[1] or match[3] or match[4]
        if match[3] and name not in defined:
            return match[0]  # as in "stock_prices$snapshots"
        if name not in defined:
            raise ValueError(f"the variable {name} is not defined")
        if match[2] != "sqlstring":
            raise ValueError(f"the variable {name} is not quoted: write ${{{name}:sqlstring}}")
        return "'" + shown.variables[name].replace("'", "''") + "'"

    return _VARIABLE.sub(filled, sql)


def _of_scans(tree: exp.Query) -> Iterator[str]:
    """Tables that grow every day are read for a range of days only, or for nothing but the day."""
    for table in tree.find_all(exp.Table):
        if table.name in _REFERENCE_TABLES or table.name.endswith("$snapshots"):
            continue
        selects = [node for node in _ancestors(table) if isinstance(node, exp.Select)]
        read = {column.name for column in selects[0].find_all(exp.Column)}
        if not any(_bounds_days(select) for select in selects) and not read <= _DAY_COLUMNS:
            yield f"{table.name} is read without bounds: use $__dateFilter"


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _bounds_days(select: exp.Select) -> bool:
    where = select.args.get("where")
    if where is None or where.find(exp.Or):
        return False
    conditions = where.find_all(exp.Between, exp.GTE)
    return any(isinstance(node.this, exp.Column) and "DATE" in node.sql("athena").upper() for node in conditions)


def _of_date_filters(sql: str) -> Iterator[str]:
    for column in _DATE_FILTER.findall(sql):
        if column not in _DAY_COLUMNS - {"observed_at"} | {"execution_date"}:
            yield f"$__dateFilter({column}) is not on a column of days"


def _of_fields(panel: Mapping[str, Any], rows: pa.Table) -> Iterator[str]:
    import pyarrow as pa

    types = {field.name: field.type for field in rows.schema}
    numbers = {name for name, kind in types.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)}
    for name, kind in types.items():
        if pa.types.is_decimal(kind):
            yield f"{name} is a DECIMAL, which arrives as text: cast it to DOUBLE"
    overrides = panel["fieldConfig"]["overrides"]
    units = {name: panel["fieldConfig"]["defaults"].get("unit") for name in numbers}
    labels = {name: name for name in types}
    for override in overrides:
        name = override["matcher"]["options"]
        properties = {item["id"]: item.get("value") for item in override["properties"]}
        if name not in types:
            yield f"its settings are for {name}, which its query does not give"
            continue
        labels[name] = properties.get("displayName", labels[name])
        if "unit" in properties:
            units[name] = properties["unit"]
            if name not in numbers:
                yield f"{name} has a unit and is no number"
    for name in sorted(numbers):
        if units[name] not in UNITS.values():
            yield f"the unit of {name} is {units[name]}, which is none of Grafana's that are used here"
    for label, count in Counter(labels.values()).items():
        if count > 1:
            yield f"{count} fields are called {label}"
    shown = {labels[name] for name in numbers}
    for override in overrides:
        below = next((item["value"] for item in override["properties"] if item["id"] == "custom.fillBelowTo"), None)
        if below is not None and below not in shown:
            yield f"it is filled down to {below}, which is not drawn"
    for name in _drawn_fields(panel):
        if name not in numbers:
            yield f"it draws {name}, which is no number of its query"
    if panel["type"] == "candlestick" and set(panel["options"].get("fields", {})) < {"open", "high", "low", "close"}:
        yield "a candle needs open, high, low and close"
    if panel["type"] != "table" and not numbers:
        yield "it has no number to draw"


def _drawn_fields(panel: Mapping[str, Any]) -> Iterator[str]:
    options = panel["options"]
    if panel["type"] == "candlestick":
        yield from options["fields"].values()
    for series in options.get("series", []):
        yield from (series[axis]["matcher"]["options"] for axis in ("x", "y"))


def _of_time(panel: Mapping[str, Any], rows: pa.Table) -> Iterator[str]:
    import pyarrow as pa

    if panel["type"] not in _OVER_TIME:
        return
    times = [field.name for field in rows.schema if pa.types.is_temporal(field.type)]
    if len(times) != 1:
        yield f"it needs one column of time and has {len(times)}"
        return
    values = rows.column(times[0]).to_pylist()
    if any(later <= earlier for earlier, later in pairwise(values)):
        yield f"{times[0]} does not ascend from row to row"


def _of_rule(rule: Mapping[str, Any], run: Run, today: date) -> Iterator[str]:
    for name in ("title", "annotations", "labels"):
        if not rule.get(name):
            yield f"it has no {name}"
    if rule.get("noDataState") != "Alerting":
        yield "no data is no alert"
    texts = json.dumps(rule)
    if re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", texts):
        yield "a $ is not doubled, and provisioning would read it as a variable"
        return
    steps = {step["refId"]: step for step in rule["data"]}
    if rule["condition"] not in steps:
        yield f"its condition {rule['condition']} is none of its steps"
        return
    for step in rule["data"]:
        model = step["model"]
        if step["datasourceUid"] == "__expr__":
            if model["expression"] not in steps:
                yield f"{step['refId']} judges {model['expression']}, which is none of its steps"
            if not model["conditions"]:
                yield f"{step['refId']} has no threshold"
            continue
        if step["datasourceUid"] != DATASOURCE_UID:
            yield f"it reads from {step['datasourceUid']}, not from {DATASOURCE_UID}"
        since = today - timedelta(seconds=step["relativeTimeRange"]["from"])
        query = {**model, "rawSQL": model["rawSQL"].replace("$$", "$")}
        rows, problems = _answered(step["refId"], query, set(), run, Shown(since, today, {}))
        yield from problems
        if rows is not None and not _is_one_number(rows):
            yield f"{step['refId']} gives {rows.num_rows} rows of {', '.join(rows.schema.names)}, not one number"


def _is_one_number(rows: pa.Table) -> bool:
    import pyarrow as pa

    kind = rows.schema.field(0).type
    return rows.shape == (1, 1) and bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def add_query_costs(lake: Lake, day: date) -> None:
    """The table that the AWS deployment keeps of its queries, with one of them, for a lake that is not there."""
    import pyarrow as pa

    query = QueryCost("1", "SUCCEEDED", datetime.combine(day, time()), scanned_bytes=1, run_time_ms=1, cost_usd=0.1)
    table = cost_rows([query], run_id="1", step="verify")
    lake.catalog.put_table(QUERY_COSTS)
    lake.engine.write(QUERY_COSTS, table.append_column(PARTITION_DAY, pa.array([day])), [day])


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def dashboard_files() -> list[Path]:
    return sorted((FOLDER / "dashboards").glob("*.json"))


def alert_file() -> Path:
    return FOLDER / "provisioning" / "alerting" / "rules.json"


def main() -> int:
    """Fill a small lake from the sandbox and verify the files of the repository on it."""
    from stock_weather_pipeline.lake.opening import open_lake
    from stock_weather_pipeline.partitions import today
    from stock_weather_pipeline.settings import load_settings

    last = today() - timedelta(days=1)
    first = last - timedelta(days=30)
    with TemporaryDirectory() as home:
        chosen = {"STOCK_WEATHER_HOME": home, "STOCK_WEATHER_SANDBOX": "true", "STOCK_WEATHER_START_DATE": str(first)}
        command = [sys.executable, "-m", "stock_weather_pipeline.cli", "run", "--start", str(first)]
        subprocess.run(command, env={**os.environ, **chosen}, check=True, stdout=subprocess.DEVNULL)
        lake = open_lake(load_settings({"home": Path(home), "sandbox": True, "start_date": first}))
        add_query_costs(lake, last)
        shown = Shown(first, last, {"ticker": "NVDA", "location": "New York"})
        found = [
            f"{path.name}: {problem}"
            for path in dashboard_files()
            for problem in dashboard_problems(read(path), lake.engine.query, shown)
        ]
        found += [f"{alert_file().name}: {p}" for p in alert_problems(read(alert_file()), lake.engine.query, today())]
    sys.stdout.write("\n".join([*found, f"{len(found)} problems"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
