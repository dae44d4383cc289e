"""Grafana on Athena, as code: dashboards and alert rules made from the panels, and their verification without a server."""
