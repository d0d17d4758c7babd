"""Which objects `infer` reads, and which files it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.commands.infer import sample
from tests.support.export import Export, moment, plain
from tests.support.s3_server import Bucket

pytestmark = pytest.mark.usefixtures("logging_restored")


# What is read, what is written


def test_the_sample_is_bounded_and_reaches_from_the_oldest_to_the_newest_hour(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(24):
        for part in "abc":
            records = [plain(number, updatedAt=moment(number)) for number in range(40)]
            export.deliver("things", records, hour=f"{hour:02d}", part=part)
    text = export.text("things", "--objects", "5")
    assert "# Inferred from 5 of 72 objects, 2026-11-01T00 to 2026-11-01T23, 200 lines." in text
    window = export.text("things", "--from", "2026-11-01T03", "--to", "2026-11-01T04")
    assert "6 of 6 objects, 2026-11-01T03 to 2026-11-01T04, 240 lines" in window
    monkeypatch.setattr(sample, "LINES", 90)
    cut = export.text("things", "--objects", "5")
    assert "5 of 72 objects, 2026-11-01T00 to 2026-11-01T23, 90 lines" in cut
    assert "# Only the first lines of 5 of the objects were read." in cut


def test_each_hour_gives_an_object_before_any_gives_two(export: Export) -> None:
    for part in range(60):
        export.deliver("things", [plain(part)], part=f"{part:02d}")
    export.deliver("things", [plain(1, late=True)], hour="23")
    export.deliver("things", [plain(2, later=True)], hour="22")
    text = export.text("things", "--objects", "4")
    assert "late: boolean" in text
    assert "later: boolean" in text


def test_a_file_that_differs_is_never_overwritten(export: Export) -> None:
    export.deliver("things", [plain(number) for number in range(9)])
    export.deliver("others", [plain(number) for number in range(9)])
    first = export.run("--out", str(export.drafts))
    again = export.run("--out", str(export.drafts))
    assert (first.exit_code, again.exit_code) == (0, 0)
    file = export.drafts / "things.yaml"
    file.write_text(file.read_text() + "# mine\n")
    (export.drafts / "others.yaml").unlink()
    refused = export.run("--out", str(export.drafts))
    assert refused.exit_code == 2
    assert f"error: {file}: exists already" in refused.stderr
    assert file.read_text().endswith("# mine\n")
    assert not (export.drafts / "others.yaml").exists()


def test_several_datasets_are_several_documents(export: Export) -> None:
    export.deliver("things", [plain(number) for number in range(9)])
    assert export.run().stdout.startswith("# Inferred from")
    export.deliver("others", [plain(number) for number in range(9)])
    documents = export.run().stdout.split("---\n")
    assert [document.partition("\n")[0] for document in documents] == ["", "# others.yaml", "# things.yaml"]


def test_wrong_usage_ends_with_2_and_the_nearest_name(export: Export) -> None:
    assert export.run().exit_code == 2
    export.deliver("things", [plain(1)])
    unknown = export.run("--dataset", "thing")
    assert (unknown.exit_code, "did you mean 'things'?" in unknown.stderr) == (2, True)
    assert export.run("--check", "--out", "x").exit_code == 2
    assert export.run("--check").exit_code == 2  # there is no registry


def test_a_folder_that_cannot_be_a_dataset_is_reported(export: Export) -> None:
    export.deliver("Not-Snake", [plain(1)])
    result = export.run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Not-Snake: nothing inferred: the name of a dataset is in lower snake case" in result.stderr


def test_a_bucket_gives_the_same_draft_as_a_folder(tmp_path: Path, bucket: Bucket) -> None:
    export = Export(tmp_path)
    path = export.deliver("things", [plain(number, updatedAt=moment(number)) for number in range(30)])
    local = export.text("things")
    bucket.put(f"prefix/{path.relative_to(export.source).as_posix()}", path.read_bytes())
    url = f"{{url: s3://{bucket.name}/prefix, endpoint: {bucket.endpoint}}}"
    export.config.write_text(f"source: {url}\nwarehouse: {tmp_path / 'warehouse'}\n")
    assert export.text("things") == local
    assert not (tmp_path / "warehouse").exists()
