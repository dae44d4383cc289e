"""Where data comes from: vendor clients, quota, planning of requests."""
