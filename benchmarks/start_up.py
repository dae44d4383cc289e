"""Start-up from a cold process: the definitions, `--help` and `status`, against importing Dagster alone."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.backfill import environment
from benchmarks.measuring import Subject, alternate, child, python, report, verdict

_FIRST, _LAST = date(2025, 6, 2), date(2025, 6, 6)


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder), _FIRST)
        command = "stock_weather_pipeline.cli"
        child(python(command, "run", "--start", str(_FIRST), "--end", str(_LAST)), variables)
        commands = {
            "import dagster": [sys.executable, "-c", "import dagster"],
            "definitions": [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                "from stock_weather_pipeline.definitions import defs; defs()",
            ],
            "--help": python(command, "--help"),
            "status": python(command, "status"),
        }
        subjects = [Subject(name, partial(child, words, variables)) for name, words in commands.items()]
        results = alternate(subjects, chosen.rounds)
    seconds = {result.name: result.seconds for result in results}
    alone = seconds["import dagster"]
    return "\n".join(
        [
            report("Start-up from a cold process", results, "import dagster"),
            verdict("definitions / import dagster", seconds["definitions"] / alone, 1.3),
            verdict("status / import dagster", seconds["status"] / alone, 1.3),
            verdict("--help", seconds["--help"], 0.5, "s"),
        ]
    )


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
