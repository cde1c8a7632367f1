"""The script for bash."""

from collections.abc import Sequence

from kissvdb.commands.complete.described import OF_SERVER, Command

_HEAD = r"""# Completion of kissvdb for bash: source it, or put it into
# ~/.local/share/bash-completion/completions/kissvdb
# Made by `kissvdb completion bash`.
"""

# The line is cut at blanks, because bash cuts it at colons, too, and keys are full of them.
_BODY = r"""
_kissvdb() {
  local line=${COMP_LINE:0:COMP_POINT} typed cur path="" count=0 wanted="" word pair at=""
  local words="" flags="" takes="" args="" breaks=${COMP_WORDBREAKS-}
  read -ra typed <<<"$line"
  cur=""
  if [[ $line != *[[:space:]] ]]; then
    cur=${typed[-1]}
    unset 'typed[-1]'
  fi
  _kissvdb_of ""
  local url=() skip=""
  for word in "${typed[@]:1}"; do
    if [[ -n $skip ]]; then
      case $skip in --url | --key) url+=("$skip" "$word") ;; esac
      skip="" wanted=""
    elif [[ $word == --*=* ]]; then
      case $word in --url=* | --key=*) url+=("$word") ;; esac
    elif [[ $word == -* ]]; then
      for pair in $takes; do
        if [[ ${pair%%=*} == "$word" ]]; then skip=$word wanted=${pair#*=}; fi
      done
    elif [[ " $words " == *" $word "* ]]; then
      path="${path:+$path }$word"
      _kissvdb_of "$path"
    else
      count=$((count + 1))
    fi
  done
  COMPREPLY=()
  if [[ -z $skip && $cur == --*=* ]]; then
    for pair in $takes; do
      if [[ ${pair%%=*} == "${cur%%=*}" ]]; then wanted=${pair#*=}; fi
    done
    at=${cur%%=*}=
    cur=${cur#*=}
    if [[ $breaks == *=* ]]; then at=""; fi
  elif [[ -z $skip && $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  elif [[ -z $skip && -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  elif [[ -z $skip ]]; then
    local places=($args)
    wanted=${places[count]:-}
    if [[ -z $wanted && ${args: -1} == "*" ]]; then wanted=${places[-1]}; fi
    wanted=${wanted%"*"}
  fi
  local IFS=$'\n'
  case $wanted in
    "" | none) return ;;
    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")) ;;
    dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
    @SERVER@)
      COMPREPLY=($("${typed[0]}" _complete "${url[@]}" "$wanted" "$cur" 2>/dev/null))
      ;;
    *) COMPREPLY=($(compgen -W "${wanted//,/$IFS}" -- "$cur")) ;;
  esac
  COMPREPLY=("${COMPREPLY[@]/#/$at}")
  # What stands before the last colon is no part of the word that bash completes.
  if [[ $cur == *:* && $breaks == *:* ]]; then
    at=${cur%"${cur##*:}"}
    COMPREPLY=("${COMPREPLY[@]#"$at"}")
  fi
}
complete -F _kissvdb kissvdb
"""


def script(commands: Sequence[Command]) -> str:
    """The whole script."""
    lines = [_HEAD, "_kissvdb_of() {", "  case $1 in"]
    for command in commands:
        names = [name for option in command.options for name in option.names]
        takes = [
            f"{name}={option.value.word()}"
            for option in command.options
            if option.value is not None
            for name in option.names
        ]
        args = [each.word() for each in command.positionals]
        if command.repeated:
            args[-1] += "*"
        inner = [name for name, _ in command.inner]
        lines += [
            f'    "{" ".join(command.path)}")',
            f'      words="{" ".join(inner)}"',
            f'      flags="{" ".join(names)}"',
            f'      takes="{" ".join(takes)}"',
            f'      args="{" ".join(args)}"',
            "      ;;",
        ]
    lines += ["  esac", "}"]
    return "\n".join(lines) + _BODY.replace("@SERVER@", " | ".join(OF_SERVER))
