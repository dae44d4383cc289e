"""The contract of Objects: whole files under keys, whatever happens to the writer."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from stock_weather_pipeline.errors import LakeError
from stock_weather_pipeline.lake.interfaces import Lake
from stock_weather_pipeline.lake.local_objects import LocalObjects

_WRITER = """
import sys
from pathlib import Path
from stock_weather_pipeline.lake.local_objects import LocalObjects
objects = LocalObjects(Path(sys.argv[1]))
while True:
    for letter in (b"a", b"b"):
        objects.write("raw/file.csv", letter * 2_000_000)
"""


def test_what_is_written_is_read(lake: Lake) -> None:
    lake.objects.write("raw/x/a.csv", b"one\ntwo")
    assert lake.objects.read("raw/x/a.csv") == b"one\ntwo"
    assert lake.objects.read_start("raw/x/a.csv", 3) == b"one"
    assert lake.objects.exists("raw/x/a.csv")
    assert not lake.objects.exists("raw/x")


def test_listing_is_by_prefix_and_sorted(lake: Lake) -> None:
    for key in ("raw/b/2", "raw/a/1", "rawness/1", "raw/a/10"):
        lake.objects.write(key, key.encode())
    assert [item.key for item in lake.objects.list("raw/")] == ["raw/a/1", "raw/a/10", "raw/b/2"]
    assert [item.key for item in lake.objects.list("raw/a/1")] == ["raw/a/1", "raw/a/10"]
    assert [item.key for item in lake.objects.list("")] == ["raw/a/1", "raw/a/10", "raw/b/2", "rawness/1"]
    assert [item.size_bytes for item in lake.objects.list("raw/b/")] == [7]
    assert lake.objects.list("nothing/") == []


def test_an_address_is_readable_and_leads_to_the_file(on_disk: Lake) -> None:
    key = "raw/x/year=2024/month=01/a.csv"
    on_disk.objects.write(key, b"1")
    address = on_disk.objects.uri(key)
    assert address.endswith(f"/{key}")
    with urlopen(address) as file:
        assert file.read() == b"1"


def test_replacing_changes_the_version_even_for_the_same_size_at_once(lake: Lake) -> None:
    versions = set()
    for n in range(20):
        lake.objects.write("k", b"%02d" % n)
        versions.add(lake.objects.list("k")[0].version)
    assert lake.objects.write("k", b"20") == lake.objects.list("k")[0].version
    assert len(versions) == 20
    assert lake.objects.list("k") == lake.objects.list("k")


def test_deleting_a_missing_object_is_no_error(lake: Lake) -> None:
    lake.objects.write("a", b"1")
    lake.objects.delete(["a", "missing", "missing/too"])
    assert lake.objects.list("") == []


def test_reading_a_missing_object_is_one_sentence(lake: Lake) -> None:
    for read in (lake.objects.read, lambda key: lake.objects.read_start(key, 5)):
        with pytest.raises(LakeError, match=r"^Cannot read .*gone\.csv: there is no such file\.$"):
            read("raw/gone.csv")


@pytest.mark.parametrize("key", ["../outside", "raw/../../outside", "/etc/passwd", ".."])
def test_a_key_that_leaves_the_lake_is_refused(lake: Lake, key: str) -> None:
    for use in (lake.objects.read, lake.objects.exists, lake.objects.list, lambda key: lake.objects.write(key, b"x")):
        with pytest.raises(LakeError, match="is not a key inside"):
            use(key)


def test_a_killed_writer_never_leaves_half_a_file(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    objects.write("raw/file.csv", b"a" * 2_000_000)
    for n in range(4):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)])
        try:
            deadline = time.monotonic() + 0.4 + 0.03 * n
            while time.monotonic() < deadline:
                content = objects.read("raw/file.csv")
                assert len(content) == 2_000_000
                assert len(set(content)) == 1
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert len(set(objects.read("raw/file.csv"))) == 1
        assert [item.key for item in objects.list("")] == ["raw/file.csv"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full; free space or set STOCK_WEATHER_HOME to another disk, then run again"),
        (errno.EROFS, "the file system is read-only; set STOCK_WEATHER_HOME to a folder that can be written"),
        (errno.EACCES, "permission denied; set STOCK_WEATHER_HOME to a folder that you may write"),
    ],
)
def test_a_write_that_fails_is_one_sentence_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    objects = LocalObjects(tmp_path)
    objects.write("raw/a.csv", b"before")

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(LakeError) as raised:
        objects.write("raw/a.csv", b"after")
    assert str(raised.value) == f"Cannot write {tmp_path}/raw/a.csv: {sentence}."
    assert objects.read("raw/a.csv") == b"before"
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["a.csv"]


def test_a_disk_that_fills_up_while_writing_leaves_no_remains(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from stock_weather_pipeline.lake.local_objects import LocalObjects\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    LocalObjects(Path(sys.argv[1])).write('a/b', b'x' * 5000)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"LakeError Cannot write {tmp_path}/a/b: File too large.\n"
    assert list((tmp_path / "a").iterdir()) == []


def test_a_file_where_a_folder_belongs_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("in the way")
    with pytest.raises(LakeError, match=r"^Cannot write .*raw/x/a\.csv: a file is where a folder belongs"):
        LocalObjects(tmp_path).write("raw/x/a.csv", b"1")
    assert (tmp_path / "raw").read_text() == "in the way"
