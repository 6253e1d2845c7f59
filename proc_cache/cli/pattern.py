"""`--cmd-re PATTERN`: names are searched here, at the end of who asks, whatever answers.

Some patterns take forever to search ("catastrophic backtracking"). An engine runs at real-time priority and has
other things to do; whoever typed one waits for it, and can end that with Ctrl-C.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from ..process import known_name

if TYPE_CHECKING:
    from ..process import Node, Process


class NamePattern:
    """A regular expression to be found anywhere in a name. Raises ValueError with what is wrong with it."""

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("the pattern is empty; give a regular expression, as `^(cc1|ld)$`")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Python may read in another way some day
                self._pattern = re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from error

    def is_in(self, process: Process) -> bool:
        """Tell whether it is found in the name, the full one where the kernel's is cut."""
        return self._is_in(process.full_name or process.cmd)

    def is_in_node(self, node: Node) -> bool:
        """Tell the same of a process that a stream told of."""
        return self._is_in(node.full_name or known_name(node))

    def _is_in(self, name: str | None) -> bool:
        return name is not None and self._pattern.search(name) is not None
