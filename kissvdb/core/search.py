"""What a search asks for, in one value that goes from the request to the index."""

import msgspec

from kissvdb.core.filters.tree import Node


class Search(msgspec.Struct, frozen=True):
    """The ``k`` best rows behind the ``offset`` best, among those that pass.

    ``tree``: the filter; ``namespace``: only its rows. ``ef``: rows a graph search keeps in view;
    None chooses. ``exact``: look at every row. ``min_score``: leave out what scores less.
    ``explain``: say how it went.
    """

    k: int = 10
    offset: int = 0
    tree: Node | None = None
    namespace: str | None = None
    ef: int | None = None
    exact: bool = False
    min_score: float | None = None
    explain: bool = False

    @property
    def want(self) -> int:
        """How many of the best have to be known."""
        return self.offset + self.k

    @property
    def narrowed(self) -> bool:
        """Whether only some rows may be found."""
        return self.tree is not None or self.namespace is not None

    @property
    def is_plain(self) -> bool:
        """Whether the index answers it as it chooses: what an audit is to judge."""
        return not (self.exact or self.ef or self.offset or self.min_score is not None)
