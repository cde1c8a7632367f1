"""The script for zsh: every command as `_arguments` wants it."""

import re
from collections.abc import Sequence

from kissvdb.commands.complete.described import OF_SERVER, Command, Option, Value

_HEAD = """#compdef kissvdb
# Completion of kissvdb for zsh: `source <(kissvdb completion zsh)` after compinit, or as a file
# called _kissvdb in a directory of $fpath. Made by `kissvdb completion zsh`.

_kissvdb_values() {
  local -a url found
  local name
  for name in --url --key; do
    [[ -n ${opt_args[$name]-} ]] && url+=($name "${(Q)opt_args[$name]}")
  done
  found=(${(f)"$($kissvdb_command _complete $url $argv[-1] "$PREFIX" 2>/dev/null)"})
  compadd -a found
}
"""

_TAIL = """
_kissvdb() {
  local kissvdb_command=${(Q)words[1]}
  _kissvdb_at_
}

# As a file of $fpath this runs to complete; sourced, it says what to complete with it.
if [[ $funcstack[1] == _kissvdb ]]; then
  _kissvdb "$@"
else
  compdef _kissvdb kissvdb
fi
"""


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    return _HEAD + "".join(map(_function, commands)) + _TAIL


def _function(command: Command) -> str:
    specs = [_option(option) for option in command.options]
    if command.inner:
        specs += ["'1: :->command'", "'*:: :->rest'"]
    for number, value in enumerate(command.positionals, 1):
        last = number == len(command.positionals) and command.repeated
        specs.append(_quoted(f"{'*' if last else number}:{_action(value)}"))
    joined = " \\\n    ".join(specs)
    lines = [f"\n{_name(command.path)}() {{"]
    if command.inner:
        lines.append("  local state line context\n  typeset -A opt_args")
    lines.append(f"  _arguments -s -S \\\n    {joined}")
    if command.inner:
        described = " ".join(_quoted(f"{name}:{help_}") for name, help_ in command.inner)
        lines += [
            "  case $state in",
            f"    command) local -a there=({described}); _describe command there ;;",
            "    rest)",
            "      case $words[1] in",
            *(f"        {name}) {_name((*command.path, name))} ;;" for name, _ in command.inner),
            "      esac ;;",
            "  esac",
        ]
    return "\n".join([*lines, "}", ""])


def _name(path: Sequence[str]) -> str:
    return "_kissvdb_at_" + "_".join(path)


def _option(option: Option) -> str:
    help_ = re.sub(r"([\[\]\\:])", r"\\\1", option.help)
    value = "" if option.value is None else f":{_action(option.value)}"
    specs = []
    for name in option.names:
        equals = "=" if value and name.startswith("--") else "+" if value else ""
        specs.append(_quoted(f"*{name}{equals}[{help_}]{value}"))
    return " ".join(specs)


def _action(value: Value) -> str:
    if value.choices:
        return f" :({' '.join(value.choices)})"
    if value.kind in OF_SERVER:
        return f" :_kissvdb_values {value.kind}"
    return {"file": " :_files", "dir": " :_files -/"}.get(value.kind, " : ")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
