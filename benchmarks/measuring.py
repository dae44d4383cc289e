"""What every benchmark shares: subjects measured in turn, in one run, on one machine; medians and ratios printed.

A subject is measured by calling it: `timed` in this process, `child` as a process of its own, whose peak memory is
known. What is measured belongs into the scripts.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSIONED = ("dagster", "duckdb", "pyarrow", "pyiceberg", "pandas", "polars", "TA-Lib", "dlt")
_LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Sample:
    """One measurement: wall-clock seconds, peak memory of a child process, and parts of the time by name."""

    seconds: float
    peak_bytes: int | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Something to be measured. `measure` does it once, from scratch."""

    name: str
    measure: Callable[[], Sample]


@dataclass(frozen=True)
class Result:
    """Every sample of a subject."""

    name: str
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def peak_bytes(self) -> float | None:
        peaks = [sample.peak_bytes for sample in self.samples if sample.peak_bytes is not None]
        return statistics.median(peaks) if peaks else None

    def part(self, name: str) -> float:
        return statistics.median(sample.parts[name] for sample in self.samples)


def alternate(subjects: Sequence[Subject], rounds: int) -> list[Result]:
    """Measures every subject once per round, so that a slow moment of the machine hits all of them."""
    samples: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
    for _ in range(rounds):
        for subject in subjects:
            samples[subject.name].append(subject.measure())
    return [Result(name, found) for name, found in samples.items()]


def timed(action: Callable[[], object]) -> Callable[[], Sample]:
    """Measures a function in this process."""

    def measure() -> Sample:
        start = time.perf_counter()
        action()
        return Sample(time.perf_counter() - start)

    return measure


def child(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Sample:
    """Runs a command from a cold process. A JSON object in its last line of output is taken as parts of the time, in
    seconds. Raises RuntimeError with its output when it fails."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reports:
        try:
            launched = subprocess.run(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(write), *command],
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                pass_fds=[write],
            )
        finally:
            os.close(write)
        report = json.loads(reports.read() or "{}")
    if launched.returncode != 0 or report.get("exit_code") != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{launched.stdout[-4000:]}")
    return Sample(report["seconds"], report["peak_bytes"], _parts(launched.stdout))


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-W", "ignore", "-m", module, *arguments]


def machine() -> str:
    """Where and when this was measured, with which versions."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    cpu = _cpu()
    versions = ", ".join(f"{name} {found}" for name in VERSIONED if (found := _version(name)))
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.machine()}, {cpu}, "
        f"{os.cpu_count()} cores, {memory:.0f} GB, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def report(title: str, results: Sequence[Result], base: str) -> str:
    """A table of medians, with the ratio of each subject to `base`."""
    seconds = {result.name: result.seconds for result in results}
    width = max(len(name) for name in seconds)
    lines = [title, machine(), "", f"{'subject':{width}}  {'median s':>9}  {'ratio':>6}  {'peak MB':>8}  samples"]
    for result in results:
        peak = f"{result.peak_bytes / 1e6:.0f}" if result.peak_bytes is not None else ""
        shown = " ".join(f"{sample.seconds:.3f}" for sample in result.samples)
        ratio = result.seconds / seconds[base]
        lines.append(f"{result.name:{width}}  {result.seconds:9.3f}  {ratio:6.2f}  {peak:>8}  {shown}")
        lines += [f"{'  ' + part:{width}}  {result.part(part):9.3f}" for part in result.samples[0].parts]
    return "\n".join(lines)


def verdict(what: str, value: float, limit: float, unit: str = "x") -> str:
    """One line that holds a figure against its target. Nothing fails: it is for people to read."""
    return f"{what}: {value:.2f} {unit}, target at most {limit:g} {unit}: {'met' if value <= limit else 'MISSED'}"


def _parts(output: str) -> dict[str, float]:
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        return {}
    return {str(name): float(value) for name, value in json.loads(last).items()}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
