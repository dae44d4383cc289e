"""The pipeline for people who run Glue and no Dagster: a job for each step, drift, and the checks as DQDL rulesets.

A job is a short script over the package's layers, so that it does what the assets do. Glue runs a script alone, with
the package beside it: a script imports `stock_weather_pipeline` and nothing of `infra`.
"""
