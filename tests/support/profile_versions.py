"""Profiles of versions 1 and 2, and a registry that learns version 2."""

from __future__ import annotations

from pathlib import Path

VERSION_2 = "  2:\n    changes: [{add: {field: nickname, type: string}}]\n"


def record(number: int, version: int) -> bytes:
    return (
        f'{{"id":"r{number}","version":{version},"roverID":"fan-{number}","emittedAt":"2026-11-01T00:00:00Z",'
        f'"updatedAt":"2026-11-01T00:00:00Z","traits":{{}}}}'
    ).encode()


def learn_version_2(path: Path) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8')}{VERSION_2}", encoding="utf-8")
