"""What was found, and whether that is a problem."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

OK, NOTE, PROBLEM = "ok", "note", "problem"
_SIGNS = {OK: " ", NOTE: "~", PROBLEM: "!"}


@attrs.frozen
class Finding:
    """``value`` is JSON. ``advice``: what it means and what to do, of a note or a problem."""

    section: str
    name: str
    value: Any
    level: str = OK
    advice: str = ""


Look = Callable[[], Iterator[Finding]]


def gathered(section: str, look: Look) -> list[Finding]:
    """What ``look`` finds. One that fails is itself a finding: the others are still wanted."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        found.append(Finding(section, "looking", said, NOTE, "this part could not be looked at"))
    return found


def lines(findings: list[Finding]) -> Iterator[str]:
    """As text: a block for each section, what needs attention marked and explained."""
    section = ""
    for each in findings:
        if each.section != section:
            section = each.section
            yield section
        yield f"  {_SIGNS[each.level]} {each.name:<18} {_text(each.value)}"
        if each.advice:
            yield f"      {each.advice}"
    bad = sum(each.level == PROBLEM for each in findings)
    notes = sum(each.level == NOTE for each in findings)
    yield f"{bad} problems (!), {notes} notes (~)"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
