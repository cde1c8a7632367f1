"""`doctor` as a command."""

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kissvdb.settings import Loaded


def add_to(
    commands: Any, command: Callable[..., Any], parent: Any, load: "Callable[[Namespace], Loaded]"
) -> None:
    """``parent`` has the flags of serving, because it looks at what would be served."""

    def run(arguments: Namespace) -> int:
        return _run(arguments, load)

    made = command(commands, "doctor", run, "look at this machine, for a report", parent)
    made.add_argument("--json", action="store_true", help="for programs")
    made.add_argument("--sbom", action="store_true", help="only the packages, as CycloneDX")


def _run(arguments: Namespace, load: "Callable[[Namespace], Loaded]") -> int:
    import msgspec

    if arguments.sbom:
        from kissvdb.commands.doctor import sbom

        print(sbom.document())
        return 0
    from pathlib import Path

    from kissvdb.commands.doctor import disk, machine, software
    from kissvdb.commands.doctor.findings import PROBLEM, gathered, lines

    loaded = load(arguments)
    storage = loaded.config.storage
    data_dir = None if storage.memory else Path(storage.data_dir)
    found = [
        *gathered(software.SECTION, lambda: software.look(loaded)),
        *gathered(machine.SECTION, lambda: machine.look(data_dir)),
        *gathered(disk.SECTION, lambda: disk.look(data_dir)),
    ]
    bad = any(each.level == PROBLEM for each in found)
    if arguments.json:
        print(msgspec.json.encode({"ok": not bad, "findings": found}).decode())
    else:
        for line in lines(found):
            print(line)
    return 1 if bad else 0
