"""Daily market and weather data as Dagster assets, on one machine or on AWS.

Nothing is imported here: `import stock_weather_pipeline` stays free of Dagster, pandas and the network.
"""
