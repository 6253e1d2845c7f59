"""Objects written as they come: a line each, or all of them as one JSON array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import flush, write

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Array:
    """Use it in a `with` block: at its end the array is whole, however the stream ended."""

    def __init__(self, *, is_array: bool) -> None:
        self._is_array = is_array
        self._is_empty = True

    def item(self, text: str) -> None:
        """Write one, on a line of its own."""
        if self._is_array:
            text = f"{'[' if self._is_empty else ','}{text}"
            self._is_empty = False
        write(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not where it cannot be written: nobody reads us, or there is no room.
        if self._is_array and not isinstance(error, OSError):
            write("[]" if self._is_empty else "]")
            flush()
