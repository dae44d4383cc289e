"""A process that runs the pipeline and kills itself on the way, for the kill tests. No test belongs here.

The heavy imports stand at the top on purpose: the server that forks these processes makes them once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import duckdb  # noqa: F401
import pandas as pd  # noqa: F401
import pyiceberg.catalog.sql  # noqa: F401

import stock_weather_pipeline.commands.run
import stock_weather_pipeline.definitions  # noqa: F401
from stock_weather_pipeline_tests.homes import Home


def killed_run(home: Home, words: tuple[str, ...], point: tuple[str, str, int]) -> None:
    """`run_until` in a process of its own. Raises AssertionError when it was not killed."""
    # Forked from a clean server that has imported everything once: no threads of this process are inherited.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run_until, args=(home, words, *point))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def run_until(home: Home, words: tuple[str, ...], target: str, when: str, call: int) -> None:
    """`stock-weather WORDS`, killed `before` or `after` the given call (from 1) of `package.module:name`."""
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)
    home.invoke(*words)
