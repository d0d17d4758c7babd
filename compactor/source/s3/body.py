"""The body of an S3 object. If its connection breaks, a new one resumes at the same byte."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import tenacity

from compactor.errors import ObjectError
from compactor.source.s3.failures import BROKEN_BODY, body_cause

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

log = logging.getLogger(__name__)

# If the connection breaks within a piece, the whole piece is read again, so a piece is small.
PIECE_BYTES = 64 * 1024


class ResumingBody(io.RawIOBase):
    """The raw bytes of one object, over as many connections as necessary.

    Reading fails after `max_attempts` attempts in a row without a new byte. The SDK retries requests by itself, so only
    the reading of bodies is retried here.
    """

    def __init__(
        self,
        url: str,
        key: str,
        connect: Callable[[int], StreamingBody],
        *,
        size: int,
        max_attempts: int,
        wait: tenacity.wait.WaitBaseT,
    ) -> None:
        """Connects, so that an unreadable object raises here.

        Args:
            url: the object's URL, for messages.
            key: its key within the source.
            connect: returns the listed content of the object from a byte offset on, or raises a CompactorError.
            size: bytes, as listed. A body that ends earlier counts as broken, whatever its own headers say.
            max_attempts: attempts in a row without a new byte.
            wait: how many seconds to wait before each attempt but the first.
        """
        super().__init__()
        self._url = url
        self._key = key
        self._connect = connect
        self._offset = 0
        self._body: StreamingBody | None = None  # `close` runs even if connecting fails
        self._size = size
        self._body = connect(0)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BROKEN_BODY),
            stop=tenacity.stop_after_attempt(max_attempts),
            wait=wait,
            retry_error_callback=self._give_up,
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Raises ObjectError after `max_attempts` attempts without a byte, and what `connect` raises."""
        view = memoryview(buffer).cast("B")
        length = min(len(view), PIECE_BYTES, self._size - self._offset)
        if length == 0:
            return 0
        piece = self._retrying(self._read, length)
        view[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, length: int) -> bytes:
        """The next bytes, at least one. Raises one of BROKEN_BODY; the connection is closed then."""
        if self._body is None:
            self._body = self._connect(self._offset)
        try:
            piece = self._body.read(length)
            if not piece:
                raise EOFError
        except BROKEN_BODY as error:
            log.info("%s broke off at byte %d of %d: %s", self._url, self._offset, self._size, body_cause(error))
            self._drop()
            raise
        return piece

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _give_up(self, state: tenacity.RetryCallState) -> bytes:
        error = state.outcome.exception() if state.outcome else None
        raise ObjectError(
            self._key,
            f"cannot read {self._url}: {body_cause(error)} at byte {self._offset} of {self._size}, "
            f"in each of {state.attempt_number} attempts; run again later",
        ) from error
