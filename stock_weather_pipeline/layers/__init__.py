"""What each layer does with days, written once for any dataset. Free of Dagster, so that other runners can call it."""
