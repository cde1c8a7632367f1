"""When upkeep of rows is due."""

import attrs


@attrs.frozen
class Policy:
    """When upkeep is due, in rows."""

    body_rows_min: int = 1024
    """Fewer rows are scanned: a graph would not be faster by more than some 30 us."""
    drain_rows_min: int = 256
    drain_rows_max: int = 4096
    """A drain takes the tail when it has so many rows, and so many at once: half a second."""
    vacuum_rows_min: int = 1024
    vacuum_share: float = 0.25
    """A vacuum is due when so many rows are dead, and this part of all."""
    vacuum_step_rows: int = 16_384
    """How many rows a step of a vacuum links: some two seconds."""

    def drain_end(self, indexed: int, rows: int, portions: int = 1) -> int:
        """Up to which of so many rows an index of the first ``indexed`` is to grow; ``indexed``
        while that is not due. ``portions``: so many times more rows than ``drain_rows_max``."""
        if rows - indexed < (self.drain_rows_min if indexed else self.body_rows_min):
            return indexed
        return min(rows, indexed + portions * self.drain_rows_max)

    def wants_vacuum(self, dead: int, rows: int) -> bool:
        """Whether so many dead ones of all rows are to be dropped."""
        return dead >= self.vacuum_rows_min and dead >= self.vacuum_share * rows
