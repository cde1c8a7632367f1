"""Which tables a key may read and write."""

import msgspec

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class TableGrants(msgspec.Struct, frozen=True):
    """Names of tables, or with a ``*`` at the end all that begin so. As in SQLite, ASCII letters
    are the same in both cases."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def may_read(self, table: str) -> bool:
        return _matches(self.read, table)

    def may_write(self, table: str) -> bool:
        return _matches(self.write, table)


def _matches(patterns: tuple[str, ...], table: str) -> bool:
    name = table.translate(_ASCII_LOWER)
    for pattern in patterns:
        wanted = pattern.translate(_ASCII_LOWER)
        if wanted == name or (wanted.endswith("*") and name.startswith(wanted[:-1])):
            return True
    return False
