"""Benchmarks: small scripts that compare this project with the limit and with what people use instead.

`python -m benchmarks.<name>` runs one; README.md lists them. The package imports nothing of it, and no test times it.
"""
