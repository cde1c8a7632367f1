"""Accents that a stemmer needs, put back where a folded word must have had them.

Texts and queries are folded before they are stemmed, so that ``comunicacion`` finds
``comunicación``. The stemmers of the Romance languages know the endings only as they are spelt:
without its accent "-ación" would stay, while the plural "-aciones" is cut. The endings here are
spelt with the accent in (nearly) every word that has them.
"""

_ENDINGS = {
    "spanish": {
        "cion": "ción", "sion": "sión", "logia": "logía", "logias": "logías", "iamos": "íamos",
        "abamos": "ábamos",
    },
    "portuguese": {
        "cao": "ção", "coes": "ções", "sao": "são", "soes": "sões", "encia": "ência",
        "encias": "ências",
    },
    "italian": {"ita": "ità"},
    "french": {"ite": "ité", "ites": "ités"},
}  # fmt: skip
_LENGTHS = {
    language: sorted({len(ending) for ending in endings}, reverse=True)
    for language, endings in _ENDINGS.items()
}


def has_accents(language: str) -> bool:
    """Whether ``reaccented`` ever changes a token."""
    return language in _ENDINGS


def reaccented(token: str, language: str) -> str:
    """The token as it is spelt in that language, as far as its ending tells."""
    endings = _ENDINGS.get(language)
    if endings is None:
        return token
    for length in _LENGTHS[language]:
        spelt = endings.get(token[-length:])
        if spelt is not None and len(token) > length:
            return token[:-length] + spelt
    return token
