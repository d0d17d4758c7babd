"""Files that are opened late and closed by a pool."""

from __future__ import annotations

import io
import threading

import pytest

from compactor.lake import uploads
from compactor.lake.uploads import LateFile, Uploads, delete_all


class Storage:
    """Keeps what is written, by the number of the stream."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def open(self) -> io.BytesIO:
        storage = self

        class Stream(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    storage.written.append(self.getvalue())
                super().close()

        self.opened = True
        return Stream()

    opened = False


@pytest.mark.parametrize("pieces", [0, 1, 3, 100])
def test_a_late_file_is_opened_once_with_all_that_was_written(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    monkeypatch.setattr(uploads, "_HELD_BYTES", 200)
    storage = Storage()
    file = LateFile(storage.open)
    for number in range(pieces):
        file.write(b"%010d" % number)
        assert storage.opened == (10 * (number + 1) > 200)
    file.close()
    file.close()
    assert storage.written == [b"".join(b"%010d" % number for number in range(pieces))]


def test_an_abandoned_file_is_never_made_unless_it_was_opened() -> None:
    storage = Storage()
    file = LateFile(storage.open)
    file.write(b"x")
    file.abandon()
    file.close()
    assert not storage.opened


def test_uploads_run_side_by_side_and_are_waited_for() -> None:
    together = threading.Barrier(uploads.WIDTH, timeout=30)
    done = []

    def end() -> None:
        together.wait()
        done.append(1)

    with Uploads() as pool:
        for _ in range(uploads.WIDTH):
            pool.submit(1, end)
    assert len(done) == uploads.WIDTH


def test_uploads_wait_for_room() -> None:
    most, now, seen = uploads.WAITING_BYTES // 3, set[int](), []
    lock = threading.Lock()

    def end(number: int) -> None:
        with lock:
            now.add(number)
            seen.append(len(now))
        with lock:
            now.discard(number)

    with Uploads() as pool:
        for number in range(50):
            pool.submit(most, lambda number=number: end(number))  # type: ignore[misc]
        pool.submit(uploads.WAITING_BYTES * 9, lambda: end(99))
    assert len(seen) == 51
    assert max(seen) <= 3


def test_what_an_upload_raises_is_raised_at_the_end_and_stops_those_that_follow() -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Uploads() as pool:
        pool.submit(1, fail)

    def submit_on_and_on() -> None:
        with Uploads() as pool:
            for _ in range(1000):
                pool.submit(uploads.WAITING_BYTES, fail)
            pytest.fail("no upload was refused")

    with pytest.raises(OSError, match="disk full"):
        submit_on_and_on()


def test_a_file_that_cannot_be_deleted_stays_and_the_others_go() -> None:
    gone = []

    class Deleting:
        def delete(self, path: str) -> None:
            if path == "b":
                raise FileNotFoundError(path)
            gone.append(path)

    delete_all(Deleting(), ["a", "b", "c"])  # type: ignore[arg-type]
    assert sorted(gone) == ["a", "c"]
