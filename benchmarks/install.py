"""From a clone to the first tables: `make run` in a fresh clone, after one that has warmed the package cache."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Sample, Subject, alternate, child, report, verdict

REPOSITORY = Path(__file__).parents[1]
_LIMIT_S = 90


def clone_and_run(target: str) -> Sample:
    """`make TARGET` in a clone of this repository, without the time of cloning."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        return child(["make", "-C", str(clone), target], {"STOCK_WEATHER_HOME": str(Path(folder) / "home")})


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="run")
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args(arguments)
    clone_and_run(chosen.target)
    results = alternate([Subject(f"make {chosen.target}", lambda: clone_and_run(chosen.target))], chosen.rounds)
    title = f"make {chosen.target} in a fresh clone, package cache warm"
    return "\n".join([report(title, results, results[0].name), verdict("install", results[0].seconds, _LIMIT_S, "s")])


if __name__ == "__main__":
    print(main())  # noqa: T201 - a script
