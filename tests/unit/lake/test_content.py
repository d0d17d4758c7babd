"""Content hashes of files, and the form in which a commit keeps them."""

from __future__ import annotations

import io
import random
import uuid

from pyiceberg.manifest import DataFile

from compactor.lake import content


def file(writer: uuid.UUID, number: int, hash_: str | None) -> DataFile:
    found = DataFile.from_args(file_path=f"s3://bucket/t/data/day=2026-11-01/{number:05d}-{writer}.parquet")
    if hash_:
        content.attach(found, hash_)
    return found


def any_hash(seed: int) -> str:
    return content.hash_of(io.BytesIO(str(seed).encode()))


def test_a_hash_is_that_of_the_bytes_and_stays_the_same_from_version_to_version() -> None:
    stream = content.HashingSink(io.BytesIO())
    for part in (b"one", b"", b" two"):
        stream.write(part)
    assert stream.tell() == 7
    assert stream.hash == content.hash_of(io.BytesIO(b"one two")) == "xttcDn8itJY7wfaE"


def test_the_hashes_of_a_commit_are_found_again_by_the_names_of_its_files() -> None:
    seeded = random.Random(4)
    writers = [uuid.UUID(int=seeded.getrandbits(128), version=4) for _ in range(3)]
    files = [file(writer, number, any_hash(n)) for n, writer in enumerate(writers) for number in (0, 1, 2, 7, 300)]
    files += [file(writers[0], number, any_hash(number)) for number in range(1000, 1700)]
    seeded.shuffle(files)
    found = content.recorded([content.properties(files), {"another": "property"}])
    assert {content.key_of(each.file_path): content.attached(each) for each in files} == found


def test_files_without_a_hash_or_with_a_name_of_another_engine_are_left_out() -> None:
    spark = DataFile.from_args(file_path="s3://b/t/data/00000-4-0a1b2c3d-1111-4222-8333-0a1b2c3d4e5f-0-00001.parquet")
    content.attach(spark, any_hash(1))
    assert content.key_of(spark.file_path) is None
    assert content.properties([spark, file(uuid.uuid4(), 0, None)]) == {}


def test_a_commit_of_many_files_keeps_its_summary_small() -> None:
    seeded = random.Random(5)
    many = [file(uuid.UUID(int=seeded.getrandbits(128)), 0, any_hash(n)) for n in range(3000)]
    writer = uuid.UUID(int=seeded.getrandbits(128))
    one = [file(writer, n, any_hash(n)) for n in range(9000)]
    for files, least in ((many, 1700), (one, 3500)):
        kept = content.properties(files)
        assert len(kept[content.PROPERTY]) <= 64 << 10
        assert len(content.recorded([kept])) > least
