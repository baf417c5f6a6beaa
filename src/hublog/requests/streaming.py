"""Streamed bodies: the request ends with its body, and each part is made with the fields bound.

Between two parts nothing is bound, so a body that is discarded unread leaves nothing behind.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from hublog.requests.request_record import was_cancelled
from hublog.requests.request_scope import RequestScope

_FAILED: Final = 500


class _Body:
    """Counts a body and ends its request.

    Args:
        scope: of the request, suspended.
        status: of the response.
        length: what its Content-Length says, or None.
        before_end: called before the request record is written, with the fields bound.

    Attributes:
        status: may be set until the end, where the response starts after this is made.
    """

    def __init__(
        self,
        scope: RequestScope,
        status: int,
        length: int | None = None,
        before_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._scope = scope
        self.status = status
        self._length = length
        self._before_end = before_end
        self._size = 0
        self._has_begun = False

    def end(self) -> None:
        """End the request where the body is not read any further; once.

        If reading has begun and not reached the end, the client disconnected, unless there is no body.
        """
        is_whole = self._length is not None and self._size >= self._length
        with self._scope.resumed():
            if self._has_begun and not is_whole and not self._scope.is_bodiless(self.status):
                self._before_end()
                self._scope.cancel(size=self._size)
            else:
                self._finish()

    def end_after(self, close: Callable[[], object] | None) -> None:
        """Close what makes the body, with the fields bound, then end the request.

        Args:
            close: does the former; None where nothing is to be closed. What it raises goes on.
        """
        with self._scope.resumed():
            try:
                if close is not None:
                    close()
            except BaseException as error:
                self._before_end()
                self._scope.fail(error, self.status, size=self._size if self._has_begun else self._length)
                raise
            self.end()

    def _finish(self) -> None:
        self._before_end()
        self._scope.finish(self.status, size=self._size if self._has_begun else self._length)

    def _stop(self, error: BaseException, whole: type[Exception]) -> None:
        """End the request after what ended the parts; ``whole`` is how their maker says that all are made."""
        if isinstance(error, whole):
            self._finish()
            return
        self._before_end()
        if self._scope.is_bodiless(self.status) and was_cancelled(error):
            self._scope.finish(self.status, size=0)  # there was nothing to send but the headers
        else:
            self._scope.fail(error, _FAILED, size=self._size)

    def _note(self, part: object) -> None:
        if isinstance(part, bytes | bytearray):
            self._size += len(part)


class Body(_Body):
    """Iterates over a body and ends its request at the end, however that comes."""

    def over(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Return an iterator over the parts."""
        self._parts = parts
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._has_begun = True
        with self._scope.resumed():
            try:
                part = next(self._parts)
            except BaseException as error:
                self._stop(error, StopIteration)
                raise
        self._note(part)
        return part


class AsyncBody(_Body):
    """The same for an asynchronous body."""

    def over(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Return an iterator over the parts."""
        self._parts = parts
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._has_begun = True
        with self._scope.resumed():
            try:
                part = await anext(self._parts)
            except BaseException as error:
                self._stop(error, StopAsyncIteration)
                raise
        self._note(part)
        return part
