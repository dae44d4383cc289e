"""Benchmarks that anyone can run; each prints its medians, ratios, versions and machine. Nothing imports them."""
