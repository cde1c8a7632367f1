"""The text of the unit. What config/kissvdb.service shows is made of it, too."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

MARK = "# Written by `kissvdb service install`: `kissvdb service uninstall` removes it."

_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
ProtectClock=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
CapabilityBoundingSet=
UMask=0077
"""


@attrs.frozen
class Unit:
    """``command``: what runs the server. ``environment``: a file of secrets, which may be missing.
    ``data_dir``: of a person's own service; a system's is systemd's state directory."""

    command: Sequence[str]
    config: Path | None
    environment: Path
    data_dir: Path | None = None

    def text(self) -> str:
        """The whole file."""
        words = [*self.command, "serve"]
        if self.config is not None:
            words += ["--config", str(self.config)]
        return "\n".join([MARK, "", *self._unit(), *self._service(words), *self._install()])

    def _unit(self) -> Iterator[str]:
        yield "[Unit]"
        yield "Description=kissvdb, a convergent real-time database"
        yield "After=network.target"
        yield "# A server that cannot start (configuration, damage) is left for a person."
        yield "StartLimitIntervalSec=60"
        yield "StartLimitBurst=5"
        yield ""

    def _service(self, words: Sequence[str]) -> Iterator[str]:
        yield "[Service]"
        yield f"ExecStart={' '.join(map(escaped, words))}"
        yield f"EnvironmentFile=-{_specified(str(self.environment))}"
        yield "Environment=KISSVDB_LOGS_FORMAT=json"
        if self.data_dir is None:
            yield "# Wins over the file: the sandbox below lets the daemon write nowhere else."
        directory = Path("/var/lib/kissvdb") if self.data_dir is None else self.data_dir
        yield f"Environment={escaped(f'KISSVDB_STORAGE_DATA_DIR={directory}')}"
        yield "# The log is synced before every answer. The daemon stops within"
        yield "# shutdown_timeout_secs (10); systemd waits a little longer before it kills."
        yield "KillSignal=SIGTERM"
        yield "TimeoutStopSec=20"
        yield "Restart=on-failure"
        yield "RestartSec=1"
        yield ""
        if self.data_dir is None:
            yield from _of_system()
        else:
            # A person's own systemd cannot do most of what the sandbox of a system's is made of.
            yield from ("NoNewPrivileges=yes", "LockPersonality=yes", "UMask=0077", "")

    def _install(self) -> Iterator[str]:
        yield "[Install]"
        yield f"WantedBy={'multi-user' if self.data_dir is None else 'default'}.target"
        yield ""


def _of_system() -> Iterator[str]:
    yield "DynamicUser=yes"
    yield "StateDirectory=kissvdb"
    yield "StateDirectoryMode=0700"
    yield "WorkingDirectory=/var/lib/kissvdb"
    yield "# numba keeps compiled kernels here."
    yield "CacheDirectory=kissvdb"
    yield "Environment=NUMBA_CACHE_DIR=/var/cache/kissvdb"
    yield "# 4096 connections, 2000 streams, and files."
    yield "LimitNOFILE=65536"
    yield ""
    yield from _SANDBOX.splitlines()
    yield ""


def escaped(word: str) -> str:
    """One word of a command line or an assignment, as systemd.syntax(7) reads it."""
    word = _specified(word)
    plain = all(char.isalnum() or char in "/._-=:@+,%" for char in word)
    if plain and word:
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'


def _specified(text: str) -> str:
    """A percent sign begins what systemd replaces."""
    return text.replace("%", "%%")
