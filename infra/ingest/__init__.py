"""The Lambda function that fetches days of a dataset without a run: what it is asked for, and how it delivers.

Fetching is the package's `sources`; nothing here knows a vendor. The package of the function holds neither Dagster nor
Arrow, which a test of the imports keeps so.
"""
