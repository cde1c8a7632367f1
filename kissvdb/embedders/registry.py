"""The embedders of a database, by the names that the configuration gives them."""

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import trio

from kissvdb import config
from kissvdb.errors import ConfigError, NotFound

if TYPE_CHECKING:
    # Made when first asked for: a start imports neither numpy nor a client of HTTP.
    from kissvdb.embedders.batching import BatchedEmbedder
    from kissvdb.embedders.embedder import Source

DEFAULT = "default"


class Embedders:
    """Reached as ``database.embedders``. What nobody asks for costs nothing: no import, no process.

    `run` must run for as long as they are used.
    """

    def __init__(self, settings: config.Config) -> None:
        """Raises ConfigError for sections that lack what their kind needs."""
        self._settings: Mapping[str, config.Embedder] = {
            DEFAULT: settings.embedder,
            **settings.embedders,
        }
        for name, each in self._settings.items():
            _check(name, each)
        self._made: dict[str, BatchedEmbedder] = {}
        self._imported = False
        self._new: trio.MemorySendChannel[BatchedEmbedder]
        # At most one message for each name.
        self._new, self._to_run = trio.open_memory_channel(len(self._settings))

    @property
    def names(self) -> tuple[str, ...]:
        """What is configured, "default" first."""
        return tuple(self._settings)

    async def load(self) -> None:
        """Import what `find` needs, in a thread: the first time it takes a tenth of a second."""
        if not self._imported:
            await trio.to_thread.run_sync(_import, {each.kind for each in self._settings.values()})
            self._imported = True

    def find(self, name: str) -> "BatchedEmbedder":
        """The embedder called ``name``; whether it can answer shows when it is asked to. On the
        event loop after `load`.

        Raises NotFound.
        """
        made = self._made.get(name)
        if made is None:
            if name not in self._settings:
                raise NotFound(
                    f"no embedder is called {name[:64]!r}; configured: {', '.join(self.names)} "
                    "(the section [embedders.NAME] makes another one)"
                )
            made = self._made[name] = self._make(name, self._settings[name])
            self._new.send_nowait(made)
        return made

    def kind_of(self, name: str) -> str:
        """What the configuration says an embedder is: local, openai, sentence-transformers."""
        return self._settings[name].kind

    async def run(self) -> None:
        """Run what `find` makes, until cancelled; then processes and connections end."""
        async with trio.open_nursery() as running:
            async for made in self._to_run:
                running.start_soon(made.run)

    def _make(self, name: str, settings: config.Embedder) -> "BatchedEmbedder":
        from kissvdb.embedders.batching import BatchedEmbedder

        return BatchedEmbedder(name, settings, _source(name, settings))


def _check(name: str, settings: config.Embedder) -> None:
    # Spelt out here, since only together the fields are wrong.
    section = "embedder" if name == DEFAULT else f"embedders.{name}"
    needed = {
        "local": (),
        "openai": ("base_url", "dimensions"),
        "sentence-transformers": ("path", "dimensions"),
    }[settings.kind]
    missing = [f"{section}.{field}" for field in needed if not getattr(settings, field)]
    if missing:
        raise ConfigError(f"{section}.kind {settings.kind!r} needs {' and '.join(missing)}")
    if settings.kind == "local" and settings.model not in config.LOCAL_MODELS:
        models = ", ".join(config.LOCAL_MODELS)
        raise ConfigError(f"{section}.model must be one of {models}, not {settings.model!r}")


def _import(kinds: Iterable[str]) -> None:
    modules = ["openai" if kind == "openai" else "process" for kind in kinds]
    for module in ("batching", *modules):
        import_module(f"kissvdb.embedders.{module}")


def _source(name: str, settings: config.Embedder) -> "Source":
    if settings.kind == "openai":
        from kissvdb.embedders.openai import OpenAISource

        key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
        return OpenAISource(name, settings, key)
    from kissvdb.embedders.process import directory_source, local_source

    make = local_source if settings.kind == "local" else directory_source
    return make(settings)
