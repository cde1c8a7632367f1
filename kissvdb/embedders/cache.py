"""Vectors of texts that were seen lately, found by the hash of the text."""

from collections import OrderedDict
from hashlib import blake2b

ENTRY_BYTES = 200
"""What an entry takes beside its vector: two objects of bytes and its place in the dict."""


def key_of(model: str, kind: str, text: bytes) -> bytes:
    """16 bytes that tell texts, kinds and models apart."""
    return blake2b(text, digest_size=16, salt=b"", person=_short(model, kind)).digest()


def _short(model: str, kind: str) -> bytes:
    return blake2b(f"{kind} {model}".encode(), digest_size=16).digest()


class VectorCache:
    """Least recently used goes first. ``bytes_max`` 0 keeps nothing. For one thread."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self.hits = 0

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: bytes) -> bytes | None:
        """The vector as float32 bytes, or None."""
        found = self._vectors.get(key)
        if found is not None:
            self._vectors.move_to_end(key)
            self.hits += 1
        return found

    def put(self, key: bytes, vector: bytes) -> None:
        """Keep a vector; the oldest make room for it."""
        size = len(vector) + ENTRY_BYTES
        if size > self._bytes_max or key in self._vectors:
            return
        self._vectors[key] = vector
        self._bytes += size
        while self._bytes > self._bytes_max:
            _, old = self._vectors.popitem(last=False)
            self._bytes -= len(old) + ENTRY_BYTES
