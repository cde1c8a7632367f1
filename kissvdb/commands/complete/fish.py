"""The script for fish: a line for each thing that can be completed."""

from collections.abc import Iterator, Sequence

from kissvdb.commands.complete.described import OF_SERVER, Command, Value

_HEAD = """# Completion of kissvdb for fish: kissvdb completion fish | source, or as the file
# ~/.config/fish/completions/kissvdb.fish. Made by `kissvdb completion fish`.

complete -c kissvdb -f

# Which command the line has come to, and how many words stand behind it.
function __kissvdb_at
    set -l path ""
    set -l count 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '--*=*' $word
            continue
        else if string match -q -- '-*' $word
            contains -- "$path $word" $__kissvdb_takes; and set skip 1
        else if contains -- (string trim -- "$path $word") $__kissvdb_paths
            set path (string trim -- "$path $word")
        else
            set count (math $count + 1)
        end
    end
    test "$path" = "$argv[1]"; or return 1
    test (count $argv) = 1; and return 0
    test $count = "$argv[2]"; or begin
        test "$argv[3]" = more; and test $count -gt "$argv[2]"
    end
end

function __kissvdb_values
    set -l words (commandline -opc)
    set -l server
    for at in (seq (count $words))
        if contains -- $words[$at] --url --key; and test $at -lt (count $words)
            set -a server $words[$at] $words[(math $at + 1)]
        else if string match -qr -- '^--(url|key)=' $words[$at]
            set -a server $words[$at]
        end
    end
    set -l typed (string replace -r '^--[a-z-]+=' '' -- (commandline -ct))
    $words[1] _complete $server $argv[1] $typed 2>/dev/null
end

"""


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    paths = [" ".join(command.path) for command in commands if command.path]
    takes = [
        f"{' '.join(command.path)} {name}"
        for command in commands
        for option in command.options
        if option.value is not None
        for name in option.names
    ]
    lines = [
        "set -g __kissvdb_paths " + " ".join(map(_quoted, paths)),
        "set -g __kissvdb_takes " + " ".join(map(_quoted, takes)),
        "",
    ]
    for command in commands:
        lines += _lines(command)
    return _HEAD + "\n".join(lines) + "\n"


def _lines(command: Command) -> Iterator[str]:
    path = '"' + " ".join(command.path) + '"'
    here = f"complete -c kissvdb -n '__kissvdb_at {path}'"
    for name, help_ in command.inner:
        yield f"complete -c kissvdb -n '__kissvdb_at {path} 0' -a {name} -d {_quoted(help_)}"
    for option in command.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        value = "" if option.value is None else f" {_action(option.value, '-r')}"
        yield f"{here} {names} -d {_quoted(option.help)}{value}"
    for place, positional in enumerate(command.positionals):
        last = place == len(command.positionals) - 1 and command.repeated
        more = " more" if last else ""
        action = _action(positional, "")
        if action:
            yield f"complete -c kissvdb -n '__kissvdb_at {path} {place}{more}' {action}"


def _action(value: Value, required: str) -> str:
    exclusive = "-x " if required else ""
    if value.choices:
        return f"{exclusive}-a {_quoted(' '.join(value.choices))}"
    if value.kind in OF_SERVER:
        return f"{exclusive}-k -a '(__kissvdb_values {value.kind})'"
    if value.kind == "file":
        return f"{required} -F".strip()
    if value.kind == "dir":
        return f"{exclusive}-a '(__fish_complete_directories)'"
    return "-x" if required else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
