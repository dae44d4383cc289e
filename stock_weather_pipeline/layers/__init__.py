"""What each layer does with days, written once for any dataset and free of Dagster, so that other runners can call it."""
