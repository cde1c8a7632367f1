"""How many keys there are, and which of them are asked for."""

import argparse
import socket
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from bench.load import protocols
from bench.load.process import Server, call

IN_TURN = "in turn"
UNIFORM = "uniform"
ZIPFIAN = "zipfian"
ZIPFIAN_THETA = 0.99
"""As YCSB has it (Cooper et al., Benchmarking cloud serving systems with YCSB, 2010)."""

IN_TURN_KEYS_MAX = 4096
"""So few keys are asked for in turn unless a spread is named: as the older figures were made."""

DRAWN = 65_536
"""Keys that are drawn for one measurement, anew for each."""

FILL_BATCH = 250
"""No more than `limits.state_batch_max` lets through."""
# Multiplied by this, the most popular keys of a zipfian spread do not lie side by side.
_SCATTER = 2_654_435_761


@attrs.define
class KeySpace:
    """``count`` keys and how they are drawn. `draw` goes on where it stopped, so that no
    measurement finds the keys of the one before in a cache, other than by chance."""

    count: int
    spread: str = IN_TURN
    _random: np.random.Generator = attrs.field(factory=lambda: np.random.default_rng(15))
    _weights: npt.NDArray[np.float64] | None = None

    @property
    def label(self) -> str:
        """What is added to the name of what is measured; nothing for the usual few."""
        return "" if self.spread == IN_TURN else f" {self.count:,} {self.spread}"

    @property
    def is_filled(self) -> bool:
        """Whether all keys are written before anything is measured."""
        return self.spread != IN_TURN

    def key(self, number: int) -> bytes:
        """The name of a key: 12 bytes."""
        return b"bench:%06d" % number

    def keys(self) -> Iterator[bytes]:
        """All of them."""
        return map(self.key, range(self.count))

    def draw(self, size: int = DRAWN) -> Sequence[bytes]:
        """So many keys, the same more than once if chance has it; all keys, once, in turn."""
        if self.spread == IN_TURN:
            return list(self.keys())
        if self.spread == UNIFORM:
            numbers = self._random.integers(0, self.count, size)
        else:
            if self._weights is None:
                weights = np.cumsum(np.arange(1, self.count + 1) ** -ZIPFIAN_THETA)
                self._weights = weights / weights[-1]
            ranks = np.searchsorted(self._weights, self._random.random(size))
            numbers = ranks * _SCATTER % self.count
        return [self.key(number) for number in numbers.tolist()]


class Requests(Sequence[bytes]):
    """One request for each key that is drawn, or for each ``batch`` of them: others each time that
    they are iterated over."""

    def __init__(
        self, space: KeySpace, make: Callable[[Sequence[bytes]], bytes], batch: int = 1
    ) -> None:
        self._space = space
        self._make = make
        self._batch = batch

    def __iter__(self) -> Iterator[bytes]:
        # As many batches as make a second of writes.
        keys = self._space.draw(DRAWN * (1 if self._batch == 1 else 4))
        for start in range(0, len(keys) - self._batch + 1, self._batch):
            yield self._make(keys[start : start + self._batch])

    def __len__(self) -> int:
        raise TypeError("they are drawn when they are asked for")

    def __getitem__(self, place: object) -> bytes:  # type: ignore[override]
        raise TypeError("they are drawn when they are asked for")


def spaces(text: str) -> list[KeySpace]:
    """For the command line: ``4096,200000,200000:zipfian``."""
    found = []
    for each in text.split(","):
        count, _, spread = each.partition(":")
        usual = IN_TURN if int(count) <= IN_TURN_KEYS_MAX else UNIFORM
        if (spread or usual) not in (IN_TURN, UNIFORM, ZIPFIAN) or int(count) < 1:
            raise argparse.ArgumentTypeError(f"{each}: KEYS, KEYS:{UNIFORM} or KEYS:{ZIPFIAN}")
        found.append(KeySpace(int(count), spread or usual))
    return found


def fill_kissvdb(server: Server, space: KeySpace, value: bytes) -> None:
    """Write all keys. Raises SystemExit when it is refused."""
    keys = list(space.keys())
    for start in range(0, len(keys), FILL_BATCH):
        writes = b",".join(
            b'{"key":"%b","value":%b}' % (key, value) for key in keys[start : start + FILL_BATCH]
        )
        body = b'{"operations":[%b]}' % writes
        if b'"error"' in call(server.port, "POST", "/v1/state/batch_put", body):
            raise SystemExit(f"{server.name} refused the keys")


def fill_redis(server: Server, space: KeySpace, value: bytes) -> None:
    """As `fill_kissvdb`."""
    keys = list(space.keys())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for start in range(0, len(keys), FILL_BATCH):
            some = keys[start : start + FILL_BATCH]
            connection.sendall(b"".join(protocols.resp(b"SET", key, value) for key in some))
            awaited = len(some) * len(b"+OK\r\n")
            while awaited > 0:
                awaited -= len(connection.recv(65_536))
