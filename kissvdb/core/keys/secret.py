"""The secret text of a key, ``rk_live_<id>_<random>``, and the hash that is kept of it.

The hash is BLAKE2b (RFC 7693) keyed with bytes that only the data directory has. The random part
has 256 bits, so nothing slower is needed: nobody can try them.
"""

from hashlib import blake2b

PREFIX = "rk_live_"
ID_BYTES = 8
RANDOM_BYTES = 32
HASH_BYTES = 32
SALT_BYTES = 32
"""Of the bytes that hashes are keyed with."""


def text_of(id_: str, random: bytes) -> str:
    """What is shown once, to who issues the key."""
    return f"{PREFIX}{id_}_{random.hex()}"


def id_of(text: str) -> str:
    """The id that a secret names; empty when it is none of ours."""
    if not text.startswith(PREFIX):
        return ""
    return text[len(PREFIX) :].partition("_")[0]


def hash_of(text: str, salt: bytes) -> bytes:
    """What is kept of a secret."""
    said = text.encode("utf-8", "surrogateescape")
    return blake2b(said, digest_size=HASH_BYTES, key=salt).digest()
