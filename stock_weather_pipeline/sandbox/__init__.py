"""Both vendors' APIs on a local port, from simulated data or from recorded files, for tests and runs without a key.

Nothing of the pipeline depends on it: it is reached over HTTP, as the vendors are.
"""

from stock_weather_pipeline.sandbox.server import DEFAULT_PORT, SANDBOX_HEADER, Call, Sandbox, serve

__all__ = ["DEFAULT_PORT", "SANDBOX_HEADER", "Call", "Sandbox", "serve"]
