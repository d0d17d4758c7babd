"""Links below `exports/`: those that lead out of it are ignored, counted and logged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compactor.errors import ObjectError
from compactor.source import IgnoredKeys
from tests.support.sources import FIRST, FolderStore, key_of, listed, only

KEY = key_of(FIRST)


def link_a_file(root: Path, elsewhere: Path) -> str:
    (elsewhere / "private").write_bytes(b"x")
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).symlink_to(elsewhere / "private")
    return KEY


def link_an_hour(root: Path, elsewhere: Path) -> str:
    (elsewhere / Path(KEY).name).write_bytes(b"x")
    hour = (root / KEY).parent
    hour.parent.mkdir(parents=True)
    hour.symlink_to(elsewhere)
    return str(hour.relative_to(root))


def link_a_day(root: Path, elsewhere: Path) -> str:
    (elsewhere / "hour=05").mkdir()
    (elsewhere / "hour=05" / Path(KEY).name).write_bytes(b"x")
    day = (root / KEY).parents[1]
    day.parent.mkdir(parents=True)
    day.symlink_to(elsewhere)
    return str(day.relative_to(root))


def link_a_dataset(root: Path, elsewhere: Path) -> str:
    (elsewhere / KEY).parent.mkdir(parents=True)
    (elsewhere / KEY).write_bytes(b"x")
    dataset = (root / KEY).parents[2]
    dataset.parent.mkdir(parents=True)
    dataset.symlink_to(elsewhere / "exports/fan_profiles")
    return str(dataset.relative_to(root))


def link_by_a_link(root: Path, elsewhere: Path) -> str:
    """A link to a link that leads out."""
    (root / "exports").mkdir(parents=True)
    (root / "exports/hop").symlink_to(elsewhere)
    (elsewhere / "private").write_bytes(b"x")
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).symlink_to(root / "exports/hop/private")
    return KEY


@pytest.mark.parametrize("link", [link_a_file, link_an_hour, link_a_day, link_a_dataset, link_by_a_link])
def test_a_link_that_leads_out_of_exports_is_ignored_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: Callable[[Path, Path], str]
) -> None:
    store, elsewhere = FolderStore(tmp_path / "lake"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    key = link(store.root, elsewhere)

    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == []
    assert (ignored.count, ignored.examples) == (1, [key])
    assert f"{store.root / key} is a link that leads out of" in caplog.text
    if link is link_a_dataset:
        assert store.source.datasets() == []


def test_the_source_and_its_exports_may_be_links_themselves(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "disk")
    store.put(KEY)
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake/exports").symlink_to(tmp_path / "disk/exports")
    (tmp_path / "by-link").symlink_to(tmp_path / "lake")
    for root in ("lake", "by-link"):
        found = only(FolderStore(tmp_path / root).source)
        with FolderStore(tmp_path / root).source.open(found) as file:
            assert file.read() == b"x"


@pytest.mark.parametrize("part", ["file", "folder"])
def test_an_object_that_becomes_a_link_out_after_it_was_listed_is_not_read(tmp_path: Path, part: str) -> None:
    store = FolderStore(tmp_path / "lake")
    store.put(KEY)
    found = only(store.source)
    place = store.root / KEY if part == "file" else (store.root / KEY).parent
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(ObjectError, match="it has become a link that leads out of exports/"):
        store.source.open(found)
