"""What content looks like that is not lines of JSON: for messages alone, and by its beginning alone."""

from __future__ import annotations

import re

BYTES = 16
"""Bytes of a beginning that `container` needs."""
MARK = "\ufeff"
"""The byte order mark, which some programs put in front of a text. JSON does not have it."""

GZIP = "a gzip file"
_CONTAINERS = {
    b"\x1f\x8b": GZIP,
    b"PK\x03\x04": "a zip file",
    b"PAR1": "a Parquet file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"BZh91AY&SY": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"7z\xbc\xaf\x27\x1c": "a 7z file",
}
_PAGE = re.compile(r"\s*<(!doctype|\?xml|html|head|body|error)\b", re.IGNORECASE)
_CSV = re.compile(r'"?[A-Za-z_][\w .-]*"?([,;\t]"?[A-Za-z_][\w .-]*"?)+\s*')


def container(beginning: bytes) -> str | None:
    """What a file of another format is that begins so.

    Text in another encoding is not among them: a first line of that kind says nothing of the lines after it.
    """
    return next((what for mark, what in _CONTAINERS.items() if beginning.startswith(mark)), None)


def likeness(line: str) -> str | None:
    """What a file looks like whose first line that is no JSON begins so; None if it looks like nothing known."""
    text = line.removeprefix(MARK).lstrip(" \t\r\n")
    # The quarantine has bytes that are no UTF-8 escaped. These two are the byte order mark of the other encodings.
    if "\0" in text[:4] or text.startswith((r"\xff\xfe", r"\xfe\xff")):
        return "UTF-16 or UTF-32 text"
    if _PAGE.match(text):
        return "an HTML or XML page"
    if re.search(r"}\s*\r\s*{", text):
        return "lines that end with a carriage return alone"
    if text.startswith("["):
        return "a JSON array"
    if text.startswith("{") and not text[1:].strip(" \t\r\n"):
        return "JSON that is written over several lines"
    if _CSV.fullmatch(text):
        return "CSV"
    return None


def likeness_of_file(beginning: bytes) -> str | None:
    """What a file looks like that should be a gzip file and begins so."""
    if what := container(beginning):
        return None if what == GZIP else what
    text = beginning.decode("utf-8", "replace")
    if _PAGE.match(text):
        return "an HTML or XML page"
    return "JSON that is not compressed" if text.lstrip(f" \t\r\n{MARK}").startswith(("{", "[")) else None
