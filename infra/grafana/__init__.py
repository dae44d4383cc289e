"""Grafana on Athena, as code: dashboards and alert rules made from the panels, verified without a server."""
