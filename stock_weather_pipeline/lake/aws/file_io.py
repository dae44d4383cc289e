"""PyIceberg's files on S3, with the metadata of tables read once: PyIceberg loads a table anew for every question.

A metadata file is never changed; which one is current is asked of Glue every time.
"""

from __future__ import annotations

import io

from pyiceberg.io import InputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

# Some tables, each in the state before and after a run.
_KEPT = 32
_contents: dict[str, bytes] = {}


class MetadataOnceFileIO(PyArrowFileIO):
    """PyIceberg's own, but for the metadata."""

    def new_input(self, location: str) -> PyArrowFile:
        file = super().new_input(location)
        if not location.endswith(".metadata.json"):
            return file
        return _MetadataFile(file.location, file._path, file._filesystem, file._buffer_size)


class _MetadataFile(PyArrowFile):
    def open(self, seekable: bool = True) -> InputStream:
        content = _contents.get(self.location)
        if content is None:
            with super().open() as stream:
                content = stream.read()
            while len(_contents) >= _KEPT:
                _contents.pop(next(iter(_contents)), None)
            _contents[self.location] = content
        return io.BytesIO(content)
