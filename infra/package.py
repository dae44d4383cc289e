"""Builds what runs on AWS: the zip of the Lambda function, and the wheel, scripts and list of modules of the Glue jobs.

Versions and hashes are the lock's (`requirements.txt`). The same sources give the same bytes, so an artifact is named
by its content and nothing is uploaded or updated twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from infra.errors import InfraError

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.txt"
LARGEST_FUNCTION_BYTES = 50 * 1000 * 1000
FUNCTION_NEEDS = ("requests", "pydantic-settings", "tzdata", "dagster-pipes")
"""What the function imports beside the package; boto3 is part of Lambda's runtime."""
GLUE_SCRIPTS = ("check_quality.py", "create_parquet.py", "drift.py", "publish_prod.py")
GLUE_NEEDS = (
    "boto3",
    "dagster-pipes",
    "pyarrow",
    "pyathena",
    "pydantic-settings",
    "pyiceberg",
    "requests",
    "sqlglot",
    "tzdata",
)
"""What the three jobs import beside the package: the layers, and the lake on AWS."""
GLUE_SCRIPTS = ("check_quality.py", "create_parquet.py", "drift.py", "publish_prod.py")
_TOO_LARGE_FOR_THE_FUNCTION = ("pandas", "pyarrow", "numpy", "duckdb", "dagster")
_LONGEST_PARAMETER = 4096
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Target:
    """An interpreter that a package is built for."""

    python: str
    platforms: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """For the markers of requirements."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "os_name": "posix",
        }


_MANYLINUX = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
LAMBDA = Target("3.12", _MANYLINUX)
GLUE = Target("3.11", _MANYLINUX)


@dataclass(frozen=True)
class Pin:
    """One line of the lock: a package, its version, its hashes."""

    name: str
    version: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Artifacts:
    """What was built: files by the key they have in the artifact bucket, and the stack's parameters that name them."""

    files: Mapping[str, Path]
    ingest_package_key: str
    glue_scripts_prefix: str
    glue_wheel_key: str
    glue_pins: tuple[str, ...]

    def parameters(self, bucket: str) -> dict[str, str]:
        """Raises InfraError when the list of modules is longer than a parameter may be."""
        modules = ",".join((f"s3://{bucket}/{self.glue_wheel_key}", *self.glue_pins))
        if len(modules) > _LONGEST_PARAMETER:
            raise InfraError(f"The Glue jobs need too many modules: {len(modules)} characters, 4096 fit: need fewer.")
        return {
            "ArtifactBucket": bucket,
            "IngestPackageKey": self.ingest_package_key,
            "GlueScriptsPrefix": self.glue_scripts_prefix,
            "GlueModules": modules,
        }


def build(folder: Path) -> Artifacts:
    """Build everything below `folder`. Needs pip and its package index. Raises InfraError with the reason."""
    function = build_function(folder / "ingest.zip", LAMBDA)
    wheel = build_wheel(folder / "wheel")
    scripts = [ROOT / "infra" / "glue" / name for name in GLUE_SCRIPTS]
    release = _digest((path.name, path.read_bytes()) for path in (wheel, *scripts))[:16]
    prefix = f"glue/{release}"
    function_key = f"ingest/{_digest(_zip_content(function))[:16]}.zip"
    return Artifacts(
        {
            function_key: function,
            f"{prefix}/{wheel.name}": wheel,
            **{f"{prefix}/{path.name}": path for path in scripts},
        },
        function_key,
        prefix,
        f"{prefix}/{wheel.name}",
        tuple(f"{pin.name}=={pin.version}" for pin in locked(GLUE_NEEDS, GLUE)),
    )


def build_function(path: Path, target: Target) -> Path:
    """The zip of the Lambda function for an interpreter. Raises InfraError when it is 50 MB or more unpacked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _install(locked(FUNCTION_NEEDS, target), target, folder)
        shutil.rmtree(folder / "bin", ignore_errors=True)
        _copy_package(folder)
        (folder / "infra").mkdir()
        shutil.copy(ROOT / "infra" / "__init__.py", folder / "infra")
        shutil.copytree(ROOT / "infra" / "ingest", folder / "infra" / "ingest", ignore=_ignored)
        _check_function(folder)
        _write_zip(folder, path)
    return path


def build_wheel(folder: Path) -> Path:
    """The package's wheel, from a copy of the sources, so that nothing is left in the checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        for file in ("setup.py", "pyproject.toml", "dagster.yaml", "workspace.yaml"):
            shutil.copy(ROOT / file, source)
        _copy_package(source)
        for path in source.rglob("*"):
            # What the checkout's umask was must not change the wheel.
            path.chmod(0o755 if path.is_dir() else 0o644)
        _pip(
            ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)],
            {"SOURCE_DATE_EPOCH": "315532800"},
        )
    (wheel,) = folder.glob("stock_weather_pipeline-*.whl")
    return wheel


def locked(needs: Iterable[str], target: Target, lock: Path = LOCK) -> list[Pin]:
    """The locked packages that these need, with everything below them, for an interpreter; sorted by name.

    The lock says of every package who asked for it, which is read the other way round.
    """
    pins: dict[str, Pin] = {}
    parents: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=[a-zA-Z0-9])", lock.read_text(encoding="utf-8")):
        head = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;]+)(?:\s*;\s*(.*?))?\s*\\\n", block)
        if head is None or (head[3] and not Marker(head[3]).evaluate(target.environment())):
            continue
        name = canonicalize_name(head[1])
        pins[name] = Pin(name, head[2], tuple(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block)))
        via = block.partition("# via")[2]
        parents[name] = {str(canonicalize_name(word)) for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", via)}
    wanted: set[str] = {canonicalize_name(name) for name in needs}
    if missing := sorted(wanted - pins.keys()):
        raise InfraError(f"{lock.name} does not lock {', '.join(missing)}: run `make lock`.")
    while more := {name for name in pins.keys() - wanted if parents[name] & wanted}:
        wanted |= more
    return [pins[name] for name in sorted(wanted)]


def _install(pins: Iterable[Pin], target: Target, folder: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        for pin in pins:
            requirements.write(" ".join((f"{pin.name}=={pin.version}", *(f"--hash={h}" for h in pin.hashes))) + "\n")
        requirements.flush()
        platforms = [f"--platform={platform}" for platform in target.platforms]
        options = [f"--python-version={target.python}", "--implementation=cp", "--only-binary=:all:", "--no-compile"]
        checks = ["--no-deps", "--require-hashes"]
        _pip(["install", f"--target={folder}", *platforms, *options, *checks, "-r", requirements.name])


def _pip(arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InfraError(f"pip could not {arguments[0]} what AWS needs: {last}")


_ignored = shutil.ignore_patterns("__pycache__")


def _copy_package(folder: Path) -> None:
    shutil.copytree(ROOT / "stock_weather_pipeline", folder / "stock_weather_pipeline", ignore=_ignored)


def _check_function(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size >= LARGEST_FUNCTION_BYTES:
        raise InfraError(f"The function's package has {size / 1e6:.0f} MB unpacked; it must stay under 50: need fewer.")
    large = [name for name in _TOO_LARGE_FOR_THE_FUNCTION if (folder / name).exists()]
    if large:
        raise InfraError(f"The function's package holds {', '.join(large)}, which it must work without.")


def _write_zip(folder: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def _zip_content(path: Path) -> Iterable[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def _digest(content: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, data in content:
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
