"""What the texts of a collection are searched by: fields, languages, weights, BM25's parameters."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, Self

import attrs
import Stemmer

from kissvdb.errors import InvalidArgument

NO_LANGUAGE = "none"
LANGUAGES = (NO_LANGUAGE, *sorted(Stemmer.algorithms()))
"""What words may be stemmed by; "none": each word is found only as it is spelt."""
CODES = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali",
    "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
    "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""ISO 639-1 codes that may stand for a language; the name is what is kept."""
TOKENIZERS = ("words", "keyword", "ngram")
"""words: by word. keyword: the whole value is one term. ngram: by three letters, inside words."""
WEIGHT_MAX = 1000.0
FIELDS_MAX = 64
"""Text fields that a collection may declare, and that are indexed without being declared."""
FIELD_NAME_CHARS_MAX = 256
K1_MAX = 10.0
K1 = 0.6
B = 0.75


def check_weight(value: Any, name: str) -> float:
    """A factor of a score: 0 < value <= WEIGHT_MAX. Raises InvalidArgument."""
    return _number(value, name, 0.0, WEIGHT_MAX, above=True)


@attrs.frozen
class FieldSettings:
    """How one field is cut into terms, and how much it counts."""

    weight: float = 1.0
    language: str = "english"
    tokenizer: str = "words"

    @classmethod
    def from_json(cls, value: Any, name: str) -> Self:
        """Of ``{"weight": 2, "language": "spanish", "tokenizer": "words"}``, all optional."""
        _check_object(value, name, ("weight", "language", "tokenizer"))
        settings = cls()
        if "weight" in value:
            settings = attrs.evolve(
                settings, weight=check_weight(value["weight"], f"{name}.weight")
            )
        if "language" in value:
            language = value["language"]
            if isinstance(language, str):
                language = CODES.get(language, language)
            language = _one_of(language, f"{name}.language", LANGUAGES)
            settings = attrs.evolve(settings, language=language)
        if "tokenizer" in value:
            tokenizer = _one_of(value["tokenizer"], f"{name}.tokenizer", TOKENIZERS)
            settings = attrs.evolve(settings, tokenizer=tokenizer)
        return settings

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.frozen
class TextSettings:
    """How the texts of a collection are searched."""

    fields: Mapping[str, FieldSettings] = attrs.field(factory=dict)
    others: bool = True
    """Whether fields that are not declared are searched too, as ``default`` says."""
    default: FieldSettings = FieldSettings()
    k1: float = K1
    """How much a word counts that comes again: 0 not at all."""
    b: float = B
    """How much long texts are held back: 0 not at all, 1 by their length."""

    def field(self, path: str) -> FieldSettings | None:
        """How the field of that path is searched; None: not at all."""
        declared = self.fields.get(path)
        if declared is not None or not self.others:
            return declared
        return self.default

    @classmethod
    def from_json(cls, value: Any, name: str = "text") -> Self:
        """Of what ``to_json`` gives; members may be left out. Raises InvalidArgument."""
        _check_object(value, name, ("fields", "others", "default", "k1", "b"))
        given: dict[str, Any] = {}
        if "fields" in value:
            given["fields"] = _fields(value["fields"], f"{name}.fields")
        if "others" in value:
            if not isinstance(value["others"], bool):
                raise InvalidArgument(f"{name}.others: expected true or false")
            given["others"] = value["others"]
        if "default" in value:
            given["default"] = FieldSettings.from_json(value["default"], f"{name}.default")
        for key, most in (("k1", K1_MAX), ("b", 1.0)):
            if key in value:
                given[key] = _number(value[key], f"{name}.{key}", 0.0, most)
        settings = cls(**given)
        if not settings.others and not settings.fields:
            raise InvalidArgument(f"{name}: with others false, declare at least one of the fields")
        return settings

    def to_json(self) -> dict[str, Any]:
        return {
            "fields": {path: field.to_json() for path, field in self.fields.items()},
            "others": self.others,
            "default": self.default.to_json(),
            "k1": self.k1,
            "b": self.b,
        }


def _fields(value: Any, name: str) -> dict[str, FieldSettings]:
    """Each a path and its settings; a path alone is enough in a list of them."""
    if isinstance(value, list) and all(isinstance(path, str) for path in value):
        value = {path: {} for path in value}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name}: expected an object of fields, or a list of their names")
    if len(value) > FIELDS_MAX:
        raise InvalidArgument(f"{name}: more than {FIELDS_MAX} fields")
    for path in value:
        if not path or len(path) > FIELD_NAME_CHARS_MAX:
            raise InvalidArgument(f"{name}: a name has 1 to {FIELD_NAME_CHARS_MAX} characters")
    return {path: FieldSettings.from_json(each, f"{name}.{path}") for path, each in value.items()}


def _check_object(value: Any, name: str, known: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name}: expected an object")
    for key in value:
        if key not in known:
            raise InvalidArgument(f"{name}.{key}: unknown{_nearest(key, known)}")


def _one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name}: expected one of {', '.join(known)}")
    if value not in known:
        raise InvalidArgument(f"{name}: unknown{_nearest(value, known)}")
    return value


def _nearest(value: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(value[:32].lower(), known, n=1, cutoff=0.5)
    hint = f", did you mean {close[0]}?" if close else "."
    return f"{hint} Known are {', '.join(known)}"


def _number(value: Any, name: str, least: float, most: float, *, above: bool = False) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    in_range = is_number and math.isfinite(value) and least <= value <= most
    if not in_range or (above and value == least):
        bounds = f"above {least:g}, at most {most:g}" if above else f"{least:g} to {most:g}"
        raise InvalidArgument(f"{name}: expected a number {bounds}")
    return float(value)
