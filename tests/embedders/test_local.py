"""The local model in its process: the vectors it should make, and its life and death."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kissvdb.config import Config, Embedder, Storage
from kissvdb.embedders.bert.wordpiece import WordPiece
from kissvdb.embedders.models import LOCAL, LocalModel
from kissvdb.embedders.process import Command, ProcessSource, local_source
from kissvdb.engine.opening import open_database
from kissvdb.errors import ConfigError, EmbedderUnavailable, NotFound
from tests.patience import PATIENCE_SECS

TEXTS = [
    "How do I reset my password?",
    "Open the account page and choose a new password.",
    "Bread rises because yeast makes gas.",
    "C++ headers (development files), v2.0-1",
    "El niño comió piñas; 東京は大きい。",
    "storage " * 400,
]
# Of these texts by the model's own float32 weights and tokenizer, as sentence-transformers has
# them, run with numpy: float16 [6, 384].
REFERENCE = Path(__file__).with_name("minilm_float32.npy")
IN_MEMORY = Config(storage=Storage(memory=True))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_the_default_makes_the_vectors_of_its_model_and_lives_as_long_as_it_is_needed():
    async with open_database(IN_MEMORY) as database:
        embedder = database.embedders.find("default")
        assert (embedder.dim, embedder.metric) == (384, "cosine")
        assert embedder._source.pid is None, "nothing was asked yet"
        vectors = await embedder.embed(TEXTS, kind="passage")
        assert vectors.shape == (6, 384)
        cosines = (vectors * np.load(REFERENCE).astype(np.float32)).sum(1)
        assert cosines.min() > 0.998
        # A batch's company does not matter.
        alone = await embedder._source.vectors(TEXTS[:1], "query")
        np.testing.assert_allclose(alone[0] / np.linalg.norm(alone[0]), vectors[0], atol=1e-3)
        first = embedder._source.pid
        os.kill(first, signal.SIGKILL)
        await embedder.embed(["another one"], kind="query")
        second = embedder._source.pid
        assert second != first
    assert not is_running(second)


def test_a_killed_server_leaves_no_model_behind(tmp_path):
    code = (
        "import trio\nfrom kissvdb.config import Config, Storage\n"
        "from kissvdb.engine.opening import open_database\n"
        "async def main():\n"
        "    async with open_database(Config(storage=Storage(memory=True))) as database:\n"
        "        embedder = database.embedders.find('default')\n"
        "        await embedder.embed(['a'], kind='query')\n"
        "        print(embedder._source.pid, flush=True)\n"
        "        await embedder.embed(['long ' * 300 + str(n) for n in range(999)], kind='query')\n"
        "trio.run(main)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path)
    with server:
        model = int(server.stdout.readline())
        assert is_running(model)
        time.sleep(0.2)  # in the middle of a batch
        server.kill()
    deadline = time.monotonic() + PATIENCE_SECS
    while is_running(model):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_process_that_dies_of_every_batch_is_given_up_and_says_how():
    source = ProcessSource("none", 8, Command("local", "nothing", 1), lambda: None)
    with pytest.raises(EmbedderUnavailable, match="KeyError: 'nothing'"):
        await source.vectors(["a"], "query")
    source._command = Dies()
    with pytest.raises(EmbedderUnavailable, match=r"died \(exit status 3\)"):
        await source.vectors(["a"], "query")
    await source.aclose()


class Dies:
    def line(self):
        return [sys.executable, "-c", "raise SystemExit(3)"]


def test_a_model_whose_wheel_is_not_there_says_what_to_install():
    missing = LocalModel("m", 8, ("numpy", "no_such_wheel"), "pip install it", lambda n: None)
    with pytest.raises(EmbedderUnavailable, match="needs no_such_wheel: pip install it, and start"):
        missing.require()
    LOCAL["minilm"].require()


@pytest.mark.parametrize("model", ["use", "e5"])
async def test_the_other_models_run_where_they_are_installed(model):
    try:
        LOCAL[model].require()
    except EmbedderUnavailable as refusal:
        pytest.skip(refusal.message)
    source = local_source(Embedder(model=model))
    vectors = await source.vectors(TEXTS[:3], "passage")
    (query,) = await source.vectors(TEXTS[:1], "query")
    await source.aclose()
    assert vectors.shape == (3, LOCAL[model].dim)
    assert query @ vectors[1] > query @ vectors[2]


async def test_a_directory_without_sentence_transformers_says_what_to_install(tmp_path):
    settings = Embedder(kind="sentence-transformers", path=str(tmp_path), dimensions=8)
    config = Config(storage=Storage(memory=True), embedders={"mine": settings})
    async with open_database(config) as database:
        mine = database.embedders.find("mine")
        with pytest.raises(EmbedderUnavailable, match=r"sentence.transformers"):
            await mine.embed(["a"], kind="query")
        with pytest.raises(NotFound, match=r"no embedder is called 'other'.* default, mine"):
            database.embedders.find("other")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Embedder(kind="openai"), "needs embedders.x.base_url and embedders.x.dimensions"),
        (Embedder(kind="sentence-transformers", dimensions=8), "needs embedders.x.path"),
        (Embedder(model="gpt"), "embedders.x.model must be one of minilm, use, e5, not 'gpt'"),
    ],
)
async def test_a_section_that_lacks_something_stops_the_start(settings, reason):
    config = Config(storage=Storage(memory=True), embedders={"x": settings})
    with pytest.raises(ConfigError, match=reason):
        async with open_database(config):
            raise AssertionError("it must not open")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Unaffable", [14477, 20961, 3468]),
        ("hello, WORLD!", [7592, 1010, 2088, 999]),
        ("crème brûlée", [13675, 21382, 7987, 9307, 2063]),
        ("東京", [1879, 1755]),
        ("a\0b\tc\u200d", [11113, 1039]),
        ("x" * 101, [100]),
        ("[MASK]", [1031, 7308, 1033]),
    ],
)
def test_texts_become_the_pieces_that_the_model_was_trained_on(text, pieces):
    assert WordPiece(256).tokens(text) == [101, *pieces, 102]


def test_a_long_text_is_cut():
    assert len(WordPiece(16).tokens("word " * 100)) == 16
