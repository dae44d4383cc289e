"""Names that the generated files, the provisioning files and their verification share."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DATASOURCE_TYPE = "grafana-athena-datasource"
DATASOURCE_UID = "stock-weather-athena"
UNITS = {
    "": "none",
    "USD": "currencyUSD",
    "%": "percent",
    "fraction": "percentunit",
    "°C": "celsius",
    "mm": "lengthmm",
    "shares": "short",
    "rows": "short",
    "sessions": "short",
    "checks": "short",
    "days": "d",
    "queries": "short",
    "bytes": "decbytes",
}
"""Grafana's names of the panels' units."""
