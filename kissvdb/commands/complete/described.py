"""What can follow what on a command line, read from the parser."""

import argparse
from collections.abc import Iterator

import attrs

# What the value of a flag or an argument is, by what `--help` calls it.
_BY_METAVAR = {
    "FILE": "file",
    "BACKUP": "file",
    "DIR": "dir",
    "KEY": "keys",
    "PREFIX": "keys",
    "COLLECTION": "collections",
}
_BY_FLAG = {"--collection": "collections", "--vectors": "vectors", "--api-key": ""}
OF_SERVER = ("keys", "collections", "vectors")


@attrs.frozen
class Value:
    """A value that is wanted. ``kind``: "file", "dir", one of OF_SERVER, or "" for what nobody can
    guess. ``choices``: all there are."""

    kind: str = ""
    choices: tuple[str, ...] = ()

    def word(self) -> str:
        """As one word of a shell, without blanks."""
        return ",".join(self.choices) if self.choices else self.kind or "none"


@attrs.frozen
class Option:
    """One flag by all its names. ``value`` None: it takes none."""

    names: tuple[str, ...]
    help: str
    value: Value | None


@attrs.frozen
class Command:
    """``path``: the words that choose it; the first command has none. ``inner``: the commands in
    it, with their help. ``repeated``: the last of ``positionals`` may come again."""

    path: tuple[str, ...]
    options: tuple[Option, ...]
    positionals: tuple[Value, ...]
    repeated: bool
    inner: tuple[tuple[str, str], ...]


def commands(parser: argparse.ArgumentParser, default: str) -> list[Command]:
    """All of them. Without a command the words are those of ``default``."""
    found = list(_commands(parser, ()))
    usual = next(each for each in found if each.path == (default,))
    root = found[0]
    names = {name for option in root.options for name in option.names}
    more = tuple(each for each in usual.options if not names & set(each.names))
    return [attrs.evolve(root, options=root.options + more), *found[1:]]


def _commands(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[Command]:
    options: list[Option] = []
    positionals: list[Value] = []
    inner: dict[str, str] = {}
    parsers: dict[str, argparse.ArgumentParser] = {}
    repeated = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            # Without a help it is nobody's to type.
            inner = {name: helps[name] for name in action.choices if name in helps}
            parsers = {name: action.choices[name] for name in inner}
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action)
            options.append(Option(tuple(action.option_strings), _plain(action.help), value))
        else:
            positionals.append(_value(action))
            repeated = action.nargs in ("*", "+")
    yield Command(path, tuple(options), tuple(positionals), repeated, tuple(inner.items()))
    for name, sub in parsers.items():
        yield from _commands(sub, (*path, name))


def _value(action: argparse.Action) -> Value:
    if action.choices is not None:
        return Value(choices=tuple(map(str, action.choices)))
    for name in action.option_strings:
        if name in _BY_FLAG:
            return Value(_BY_FLAG[name])
    return Value(_BY_METAVAR.get(str(action.metavar), ""))


def _plain(help_: str | None) -> str:
    return " ".join((help_ or "").replace("%%", "%").split())
