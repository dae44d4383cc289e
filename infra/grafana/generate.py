"""Writes Grafana's dashboards and alert rules from the description of the panels: `python -m infra.grafana.generate`.

Dashboards are in the classic schema. Which panels there are, their SQL, units and thresholds is decided in
`stock_weather_pipeline.dashboard.panels`; here is only how Grafana draws them. A dashboard shows one ticker and one
location at a time, because candles and bands can show no more.
"""

# The library's enums are of Python 3.11, and mypy reads the repository as 3.10.
# mypy: disable-error-code="arg-type"

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import (
    athena,
    candlestick,
    common,
    dashboard,
    stat,
    table,
    timeseries,
    xychart,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import athena as athena_model
from grafana_foundation_sdk.models import candlestick as candlestick_model
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import xychart as xychart_model

from infra.grafana.names import DATASOURCE_TYPE, DATASOURCE_UID, FOLDER, UNITS
from stock_weather_pipeline.dashboard.panels import (
    EXPECTED_SESSION_SQL,
    PANELS,
    TODAY_SQL,
    Chart,
    Field,
    Level,
    Panel,
    Section,
    Threshold,
)
from stock_weather_pipeline.datasets.contract import ColumnType

_COLORS = {Level.GOOD: "green", Level.WARNING: "orange", Level.BAD: "red"}
_HEIGHT, _WIDTH = 9, 12
_WIDE = (Chart.CANDLES, Chart.TABLE)
_NUMBERS = (ColumnType.DOUBLE, ColumnType.INTEGER, ColumnType.BIGINT)
_DATASOURCE = common_model.DataSourceRef(type_val=DATASOURCE_TYPE, uid=DATASOURCE_UID)
_VARIABLES = {
    "ticker": "SELECT DISTINCT ticker FROM stock_prices "
    f"WHERE trade_date >= date_add('day', -30, {TODAY_SQL}) ORDER BY ticker LIMIT 1000",
    "location": "SELECT location FROM locations ORDER BY location LIMIT 1000",
}
_DASHBOARDS = {
    "stock-weather": ("Stocks and weather", (Section.STOCKS, Section.WEATHER, Section.STOCK_WEATHER), "now-1y"),
    "stock-weather-health": ("Pipeline health", (Section.HEALTH,), "now-30d"),
}
# A wrong number in the newest days is of interest; what was held back long ago is known.
_ALERTS = {
    "stale-data": (
        "newest_session",
        "days_behind",
        Level.BAD,
        30,
        "The newest session is {{ $values.A }} days behind.",
    ),
    "failed-checks": ("failed_check_count", "failed", Level.BAD, 7, "{{ $values.A }} checks failed in a week."),
}


def statement(panel: Panel) -> str:
    """The panel's SQL with Grafana's macros and variables in its blanks."""
    return panel.statement(
        tickers="${ticker:sqlstring}",
        locations="${location:sqlstring}",
        days=lambda column: f"$__dateFilter({column})",
        today=TODAY_SQL,
        expected_session=EXPECTED_SESSION_SQL,
    )


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid, as JSON values."""
    return {uid: _dashboard(uid, *parts) for uid, parts in _DASHBOARDS.items()}


def alert_rules() -> dict[str, Any]:
    """The file of alert rules, as JSON values. Provisioning reads $ as a variable's beginning, and $$ as $."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": "stock-weather",
                "folder": "Stock weather",
                "interval": "1h",
                "rules": [_rule(uid, *parts) for uid, parts in _ALERTS.items()],
            }
        ],
    }


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    named = {FOLDER / "dashboards" / f"{uid}.json": values for uid, values in dashboards().items()}
    named[FOLDER / "provisioning" / "alerting" / "rules.json"] = alert_rules()
    return {path: json.dumps(values, indent=2, ensure_ascii=False) + "\n" for path, values in named.items()}


def _dashboard(uid: str, title: str, sections: Sequence[Section], since: str) -> dict[str, Any]:
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description("Made from the panels of stock_weather_pipeline; change them there.")
        .tags(["stock-weather"])
        # DATE values arrive as midnight in UTC; another zone would show the day before.
        .timezone("utc")
        .time(since, "now")
        .refresh("")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    shown = [panel for panel in PANELS.values() if panel.section in sections]
    for name, sql in _VARIABLES.items():
        if any(f"${{{name}:sqlstring}}" in statement(panel) for panel in shown):
            built = built.with_variable(_variable(name, sql))
    for place in _placed(sections, shown):
        built = built.with_row(place) if isinstance(place, dashboard.Row) else built.with_panel(place)
    values: dict[str, Any] = json.loads(JSONEncoder().encode(built.build()))
    return values


def _placed(sections: Sequence[Section], shown: Sequence[Panel]) -> Iterator[Any]:
    """Rows and panels with their ids and places; the library gives panels no ids and every row the id 0."""
    number, y = 0, 0
    for section in sections:
        number += 1
        place = model.GridPos(x=0, y=y, w=2 * _WIDTH, h=1)
        yield dashboard.Row(section.value).id(number).grid_pos(place)
        x, y = 0, y + 1
        for panel in (panel for panel in shown if panel.section is section):
            number += 1
            wide = panel.chart in _WIDE
            if wide and x:
                x, y = 0, y + _HEIGHT
            width = 2 * _WIDTH if wide else _WIDTH
            place = model.GridPos(x=x, y=y, w=width, h=_HEIGHT)
            yield _drawn(panel).id(number).grid_pos(place)
            x, y = (0, y + _HEIGHT) if x + width >= 2 * _WIDTH else (x + width, y)
        y += _HEIGHT if x else 0


def _variable(name: str, sql: str) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_DATASOURCE)
        .query({"rawSQL": sql, "format": int(athena_model.FormatOptions.TABLE), "refId": name})
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .multi(False)
        .include_all(False)
    )


def _drawn(panel: Panel) -> Any:
    built = _BUILDERS[panel.chart](panel)
    target = (
        athena.Dataquery().ref_id("A").format(athena_model.FormatOptions.TABLE).raw_sql(statement(panel))
    ).datasource(_DATASOURCE)
    built = built.title(panel.title).description(panel.question).datasource(_DATASOURCE).with_target(target)
    for field in panel.fields:
        built = built.override_by_name(field.name, [*_names(field), *_thresholds(panel, field)])
    return built


def _names(field: Field) -> list[Any]:
    """What any panel says about a field: its label and, for a number, its unit."""
    named = [model.DynamicConfigValue(id_val="displayName", value=field.label)]
    if field.type in _NUMBERS:
        named.append(model.DynamicConfigValue(id_val="unit", value=UNITS[field.unit]))
    return named


def _thresholds(panel: Panel, field: Field) -> list[Any]:
    own = [threshold for threshold in panel.thresholds if threshold.field == field.name]
    if not own:
        return []
    steps: list[dict[str, Any]] = [{"value": None, "color": _COLORS[Level.GOOD]}]
    steps += [{"value": threshold.value, "color": _COLORS[threshold.level]} for threshold in own]
    return [
        model.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}),
        model.DynamicConfigValue(id_val="color", value={"mode": "thresholds"}),
    ]


def _values(panel: Panel) -> list[str]:
    return [field.name for field in panel.fields if field.type in _NUMBERS]


def _properties(**values: Any) -> list[Any]:
    return [model.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def _candles(panel: Panel) -> Any:
    names = {name: name for name in _values(panel)}
    fields = candlestick.CandlestickFieldMap().open(names["open"]).high(names["high"]).low(names["low"])
    return candlestick.Panel().mode(candlestick_model.VizDisplayMode.CANDLES).fields(fields.close(names["close"]))


def _lines(panel: Panel) -> Any:
    # Weekends are no gaps; a NULL in the data is, and the warm-up of an indicator stays blank.
    return timeseries.Panel().line_width(2).show_points(common_model.VisibilityMode.NEVER)


def _bars(panel: Panel) -> Any:
    return timeseries.Panel().draw_style(common_model.GraphDrawStyle.BARS).fill_opacity(70)


def _bars_by_sign(panel: Panel) -> Any:
    steps = [model.Threshold(value=None, color="red"), model.Threshold(value=0, color="green")]
    return (
        _bars(panel)
        .thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    )


def _macd(panel: Panel) -> Any:
    custom = {"custom.drawStyle": "bars", "custom.fillOpacity": 60}
    return _lines(panel).override_by_name(_values(panel)[-1], _properties(**custom))


def _band(panel: Panel) -> Any:
    lower, *_, upper = (field for field in panel.fields if field.type in _NUMBERS)
    # Matched by the name that is shown.
    custom = {"custom.fillBelowTo": lower.label, "custom.fillOpacity": 15}
    return _lines(panel).override_by_name(upper.name, _properties(**custom))


def _calendar(panel: Panel) -> Any:
    """Grafana has no calendar, and its heatmap none of days; bars coloured by value show the same."""
    first, *others = _values(panel)
    built = _bars(panel).override_by_name(first, _properties(color={"mode": "continuous-GrYlRd"}))
    for name in others:
        custom = {"custom.drawStyle": "line", "custom.axisPlacement": "right", "custom.fillOpacity": 0}
        built = built.override_by_name(name, _properties(**custom))
    return built


def _scatter(panel: Panel) -> Any:
    x, y = _values(panel)

    def named(kind: Any, name: str) -> Any:
        return kind(matcher=xychart_model.MatcherConfig(id_val="byName", options=name))

    series = xychart_model.XYSeriesConfig(
        x=named(xychart_model.XychartXYSeriesConfigX, x), y=named(xychart_model.XychartXYSeriesConfigY, y)
    )
    return (
        xychart.Panel()
        .show(xychart_model.XYShowMode.POINTS)
        .mapping(xychart_model.SeriesMapping.MANUAL)
        .series([_Built(series)])
    )


class _Built:
    """A value where the library asks for a builder."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def build(self) -> Any:
        return self._value


def _stats(panel: Panel) -> Any:
    every = common.ReduceDataOptions().calcs(["lastNotNull"]).fields("/.*/").values(False)
    return (
        stat.Panel()
        .reduce_options(every)
        .text_mode(common_model.BigValueTextMode.VALUE_AND_NAME)
        .graph_mode(common_model.BigValueGraphMode.NONE)
    )


def _table(panel: Panel) -> Any:
    return table.Panel()


_BUILDERS: dict[Chart, Callable[[Panel], Any]] = {
    Chart.CANDLES: _candles,
    Chart.LINES: _lines,
    Chart.BARS: _bars,
    Chart.BARS_BY_SIGN: _bars_by_sign,
    Chart.MACD: _macd,
    Chart.CALENDAR: _calendar,
    Chart.BAND: _band,
    Chart.SCATTER: _scatter,
    Chart.STATS: _stats,
    Chart.TABLE: _table,
    Chart.MARKERS: _table,
}


def _rule(uid: str, name: str, field: str, level: Level, days: int, summary: str) -> dict[str, Any]:
    """An alert on one number of a panel, at the panel's own threshold."""
    panel = PANELS[name]
    limit = _limit(panel.thresholds, field, level)
    window = {"from": days * 86_400, "to": 0}
    sql = f"SELECT {field} FROM ({statement(panel)})"
    return {
        "uid": uid,
        "title": f"{panel.title}: {field.replace('_', ' ')}",
        "condition": "B",
        "for": "0s",
        "noDataState": "Alerting",
        "execErrState": "Error",
        "annotations": {"summary": summary.replace("$", "$$"), "description": panel.question},
        "labels": {"team": "market-data"},
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": window,
                "datasourceUid": DATASOURCE_UID,
                "model": {
                    "refId": "A",
                    "datasource": {"type": DATASOURCE_TYPE, "uid": DATASOURCE_UID},
                    "format": int(athena_model.FormatOptions.TABLE),
                    "rawSQL": sql.replace("$", "$$"),
                },
            },
            {
                "refId": "B",
                "relativeTimeRange": window,
                "datasourceUid": "__expr__",
                "model": {
                    "refId": "B",
                    "type": "threshold",
                    "expression": "A",
                    # Whole numbers: from the limit on is above the one before.
                    "conditions": [{"evaluator": {"type": "gt", "params": [limit - 1]}}],
                },
            },
        ],
    }


def _limit(thresholds: Sequence[Threshold], field: str, level: Level) -> float:
    return next(t.value for t in thresholds if t.field == field and t.level is level)


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
