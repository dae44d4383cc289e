"""What is uploaded: complete, small, free of what the function must do without, the same bytes for the same sources."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import package
from infra.errors import InfraError
from infra.package import FUNCTION_NEEDS, GLUE, GLUE_NEEDS, LAMBDA, Target, build_function, build_wheel, locked
from stock_weather_pipeline_tests.infra.templates import INFRA

HERE = Target(f"{sys.version_info.major}.{sys.version_info.minor}", LAMBDA.platforms)


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The function's package for this interpreter, from the real lock."""
    try:
        return build_function(tmp_path_factory.mktemp("function") / "ingest.zip", HERE)
    except InfraError as error:
        if "index" in str(error) or "connect" in str(error).lower():
            pytest.skip(f"no package index is reachable: {error}")
        raise


def lock(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


HASH = "    --hash=sha256:" + "0" * 64


def test_the_lock_is_followed_downwards_and_never_upwards(tmp_path: Path) -> None:
    path = lock(
        tmp_path,
        f"# made\nabove==1 \\\n{HASH}\n    # via setup.py\nneeded[x]==2 \\\n{HASH}\n    # via\n    #   above\n"
        f"below==3 \\\n{HASH}\n    # via needed\n",
    )
    assert [(pin.name, pin.version) for pin in locked(["needed"], LAMBDA, path)] == [("below", "3"), ("needed", "2")]


def test_a_version_for_another_python_is_left_out(tmp_path: Path) -> None:
    old, new = (
        f"one=={v} ; python_full_version {sign} '3.12' \\\n{HASH}\n    # via x\n" for v, sign in ((1, "<"), (2, ">="))
    )
    path = lock(tmp_path, old + new)
    assert [pin.version for pin in locked(["one"], LAMBDA, path)] == ["2"]
    assert [pin.version for pin in locked(["one"], GLUE, path)] == ["1"]


def test_a_package_that_is_not_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"requirements.txt does not lock nothing: run `make lock`"):
        locked(["nothing"], LAMBDA, lock(tmp_path, ""))


def test_every_pin_of_the_real_lock_has_a_hash() -> None:
    for needs, target in ((FUNCTION_NEEDS, LAMBDA), (GLUE_NEEDS, GLUE)):
        pins = locked(needs, target)
        assert len(pins) > len(needs)
        assert all(pin.hashes for pin in pins)


def test_the_function_is_imported_from_its_package_alone(function: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(function) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from infra.ingest.events import request_of\n"
        "import infra.ingest.handler, dagster_pipes, requests\n"
        "print(infra.ingest.handler.__file__, requests.__file__)\n"
        "print(request_of({'dataset': 'weather', 'day': '2024-06-03', 'delivery': 'firehose'}).days)\n"
    )
    # Without `site` there are no packages but those of the zip.
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(tmp_path)) == 2
    assert "datetime.date(2024, 6, 3)" in done.stdout


def test_the_function_is_below_50_mb_and_holds_nothing_heavy(function: Path) -> None:
    with zipfile.ZipFile(function) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < package.LARGEST_FUNCTION_BYTES
        top = {name.split("/")[0] for name in archive.namelist()}
    assert not top & {"pandas", "pyarrow", "numpy", "duckdb", "dagster", "boto3"}


def test_a_package_that_is_too_large_is_refused(
    function: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "LARGEST_FUNCTION_BYTES", 1_000_000)
    with pytest.raises(InfraError, match="it must stay under 50"):
        build_function(tmp_path / "again.zip", HERE)
    assert not (tmp_path / "again.zip").exists()


def test_the_same_sources_give_the_same_function(function: Path, tmp_path: Path) -> None:
    assert build_function(tmp_path / "again.zip", HERE).read_bytes() == function.read_bytes()


def test_the_same_sources_give_the_same_wheel_and_leave_nothing_behind(tmp_path: Path) -> None:
    before = {path.name for path in INFRA.parent.iterdir()}
    one, two = build_wheel(tmp_path / "one"), build_wheel(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert {path.name for path in INFRA.parent.iterdir()} == before
    with zipfile.ZipFile(one) as archive:
        assert "stock_weather_pipeline/views/macd.sql" in archive.namelist()


def test_the_jobs_import_nothing_that_is_not_listed_for_them() -> None:
    names = sorted(pin.name for pin in locked(GLUE_NEEDS, GLUE))
    program = f"""
import importlib, importlib.metadata, pkgutil, runpy, sys
listed = set({names!r})
others = {{
    top for top, owners in importlib.metadata.packages_distributions().items()
    if not {{owner.lower().replace("_", "-") for owner in owners}} & {{*listed, "stock-weather-pipeline"}}
}}
class Watch:
    def find_spec(self, name, path=None, target=None):
        if path is None and name in others:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Watch())
for script in {[str(INFRA / "glue" / name) for name in package.GLUE_SCRIPTS]!r}:
    runpy.run_path(script, run_name="imported")
import stock_weather_pipeline.lake.aws as lake
for module in pkgutil.walk_packages(lake.__path__, lake.__name__ + "."):
    importlib.import_module(module.name)
import pyathena.arrow.cursor, pyiceberg.catalog.glue, pyiceberg.io.pyarrow
print(len(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=INFRA.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
