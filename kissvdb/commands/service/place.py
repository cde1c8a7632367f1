"""Where the unit lies, and the commands around it."""

import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from kissvdb.commands.service.unit import MARK, Unit
from kissvdb.errors import Refused

NAME = "kissvdb.service"
SYSTEMCTL_SECONDS = 10
# Where a unit's own user cannot look, whatever the sandbox says.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


@attrs.frozen
class Place:
    """Of a person's service or of the system's. ``root``: in another tree than this machine's, as
    for an image; then systemd is not asked."""

    user: bool
    root: Path | None

    @classmethod
    def of(cls, arguments: Namespace) -> "Place":
        """As the flags say."""
        return cls(arguments.user, arguments.root)

    @property
    def file(self) -> Path:
        """The unit file."""
        if self.user:
            home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
            return self._at(home / "systemd" / "user" / NAME)
        return self._at(Path("/etc/systemd/system") / NAME)

    def _at(self, path: Path) -> Path:
        return path if self.root is None else self.root / path.relative_to("/")

    def unit(self, config: Path | None) -> Unit:
        """That of this installation. Raises Refused where it could not be run."""
        command = _command()
        if self.user:
            home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kissvdb"
            data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        else:
            home = Path("/etc/kissvdb")
            hidden = next((each for each in _HOMES if Path(command[0]).is_relative_to(each)), None)
            if hidden is not None:
                raise Refused(
                    f"this installation is in {hidden}, where the service's own user may not look: "
                    "install kissvdb into /opt/kissvdb, for example, or give --user"
                )
            data = None
        usual = home / "kissvdb.toml"
        if config is None and self._at(usual).is_file():
            config = usual
        directory = None if data is None else data / "kissvdb"
        return Unit(command, config, home / "environment", directory)

    def systemctl(self, *words: str) -> str:
        """What systemd says, or "" where it is not asked."""
        program = shutil.which("systemctl")
        if program is None or self.root is not None:
            return ""
        done = subprocess.run(
            self._words(program, *words),
            capture_output=True,
            text=True,
            timeout=SYSTEMCTL_SECONDS,
            check=False,
        )
        return done.stdout.strip()

    def said(self, *words: str) -> str:
        """The command for a person to type."""
        return " ".join(self._words("systemctl", *words))

    def _words(self, program: str, *words: str) -> Sequence[str]:
        return [program, *(["--user"] if self.user else []), *words]


def _command() -> Sequence[str]:
    beside = Path(sys.executable).with_name("kissvdb")
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "kissvdb"]


def install(arguments: Namespace) -> Iterator[str]:
    """Write the unit, or only show it."""
    place = Place.of(arguments)
    config = None if arguments.unit_config is None else Path(arguments.unit_config).absolute()
    text = place.unit(config).text()
    if arguments.print:
        yield text.rstrip("\n")
        return
    there = _read(place.file)
    if there is not None and there != text and not arguments.force:
        raise Refused(
            f"{place.file} is there and says something else: compare it with --print, and give "
            "--force to replace it"
        )
    place.file.parent.mkdir(parents=True, exist_ok=True)
    beside = place.file.with_name(f".{NAME}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(0o644)
    beside.replace(place.file)
    yield f"wrote {place.file}; nothing was started. To start it, now and with the machine:"
    yield f"  {place.said('daemon-reload')} && {place.said('enable', '--now', 'kissvdb')}"
    if arguments.user:
        yield "  loginctl enable-linger   # so that it also runs while you are logged out"


def status(arguments: Namespace) -> Iterator[str]:
    """What there is, and what systemd says of it."""
    place = Place.of(arguments)
    there = _read(place.file)
    if there is None:
        yield f"not installed: there is no {place.file}"
        return
    written = "written by kissvdb" if MARK in there else "written by somebody else"
    yield f"installed: {place.file}, {written}"
    active, enabled = place.systemctl("is-active", NAME), place.systemctl("is-enabled", NAME)
    if active or enabled:
        more = place.said("status", "kissvdb")
        yield f"{active or 'unknown'}, {enabled or 'unknown'}; more: {more}"


def uninstall(arguments: Namespace) -> Iterator[str]:
    """Remove the unit; data and configuration stay."""
    place = Place.of(arguments)
    there = _read(place.file)
    if there is None:
        raise Refused(f"there is no {place.file}")
    if MARK not in there and not arguments.force:
        raise Refused(f"{place.file} was not written by kissvdb: give --force to remove it")
    stop = place.said("disable", "--now", "kissvdb")
    if place.systemctl("is-active", NAME) == "active":
        raise Refused(f"the service runs: stop it with `{stop}` before")
    if place.systemctl("is-enabled", NAME) == "enabled":
        raise Refused(f"the service starts with the machine: end that with `{stop}` before")
    place.file.unlink()
    yield f"removed {place.file}; data and configuration are where they were"
    yield f"  {place.said('daemon-reload')}"


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
