"""AWS: the stack, the entry points that run there, the emulated AWS of tests and demo, Grafana.

The package never imports it.
"""
