"""Views as sources of answers: of a history, and of /proc as it is now."""

from __future__ import annotations

from .. import query
from ..engine.view import Look
from ..errors import NotRememberedError
from ..kernel.procfs import BriefReader, ProcReader
from ..kernel.users import UserNames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..lineage import Placed
    from ..process import Node, Process
    from ..query import Chain, Descent, Outline
    from ..selection import Listing, Selection, Target
    from ..times import Moment


class ViewSource:
    """Asks a view."""

    def __init__(self, view: Listing) -> None:
        self._view = view

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Give the ancestry of a process."""
        return query.chain(self._view, pid, moment)

    def outlines(self, targets: Sequence[Target]) -> Iterator[Outline]:
        """Give the ancestries of some processes, without the facts of their links."""
        return (query.outline(self._view, target.pid, target.moment) for target in targets)

    def user(self, node: Node) -> str | None:
        """Give the name of the user of a process of an outline."""
        return self._view.user(node)

    def descent(self, pid: int, cmd: str, *, is_strict: bool = False, moment: Moment | None = None) -> Descent:
        """Tell whether a process, or an ancestor of it, has a name."""
        return query.descent(self._view, pid, cmd, is_strict=is_strict, moment=moment)

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError."""
        from ..selection import select

        return (self._view.describe(node, is_fresh=False) for node in select(self._view, selection))

    def lineages(self, selection: Selection) -> Iterator[Placed]:
        """Give them and all that is above them. Raises as `processes` does."""
        from ..lineage import lineages

        return lineages(self._view, selection)


class ProcSource(ViewSource):
    """Asks /proc: for each question, or some that come together, there is one look at it."""

    def __init__(self, with_places: bool = False) -> None:
        self._users = UserNames()
        self._with_places = with_places
        super().__init__(self._look())

    def _look(self) -> Look:
        return Look(ProcReader(with_cgroups=self._with_places), self._users)

    def chain(self, pid: int, moment: Moment | None = None) -> Chain:
        """Give the ancestry of a process."""
        self._view = self._look()
        return super().chain(pid, moment)

    def outlines(self, targets: Sequence[Target]) -> Iterator[Outline]:
        """Give the ancestries of some processes, without the facts of their links."""
        self._view = Look(BriefReader(), self._users)
        return super().outlines(targets)

    def processes(self, selection: Selection) -> Iterator[Process]:
        """Give the processes of a selection. Raises NobodyFoundError, and NotRememberedError for the dead."""
        self._check_and_look(selection)
        return super().processes(selection)

    def lineages(self, selection: Selection) -> Iterator[Placed]:
        """Give them and all that is above them. Raises as `processes` does."""
        self._check_and_look(selection)
        return super().lineages(selection)

    def _check_and_look(self, selection: Selection) -> None:
        if selection.wants_dead or selection.moment is not None:
            raise NotRememberedError(
                "only a running engine or a history knows the dead; start `proc-cache serve`, or give --from FILE"
            )
        self._view = self._look()
