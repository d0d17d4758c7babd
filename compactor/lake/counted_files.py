"""Counts the files that are opened, written, deleted and looked for, where PyIceberg reads and writes them."""

from __future__ import annotations

from typing import Any

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from compactor.request_counts import RequestCounter


class _CountedFile(PyArrowFile):
    """A file of a FileIO of PyArrow."""

    def __init__(self, file: PyArrowFile, requests: RequestCounter) -> None:
        super().__init__(file.location, file._path, file._filesystem, file._buffer_size)
        self._requests = requests

    def _file_info(self) -> Any:  # beneath `exists` and `len`
        self._requests.add("head")
        return super()._file_info()

    def open(self, seekable: bool = True) -> Any:  # noqa: FBT001, FBT002  as PyIceberg declares it
        self._requests.add("get")
        return super().open(seekable)

    def create(self, overwrite: bool = False) -> Any:  # noqa: FBT001, FBT002  as PyIceberg declares it
        created = super().create(overwrite)
        self._requests.add("put")
        return created


def count_files(io: FileIO, requests: RequestCounter) -> None:
    """Lets a FileIO count from now on. One that is not PyArrow's, which a config can name, is left as it is."""
    if not isinstance(io, PyArrowFileIO):
        return
    new_input, new_output, delete = io.new_input, io.new_output, io.delete

    def counted_input(location: str) -> PyArrowFile:
        return _CountedFile(new_input(location), requests)

    def counted_output(location: str) -> PyArrowFile:
        return _CountedFile(new_output(location), requests)

    def counted_delete(location: str | InputFile | OutputFile) -> None:
        requests.add("delete")
        delete(location)

    vars(io).update(new_input=counted_input, new_output=counted_output, delete=counted_delete)
