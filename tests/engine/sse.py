"""Reading SSE blobs in tests."""

import json
from contextlib import aclosing

import trio

from kissvdb.core.events.publishing import StreamQuery
from tests.patience import PATIENCE_SECS


def parse(blob):
    """(type, id or None, data) of each frame; comments are ("", None, text)."""
    frames = []
    for text in blob.decode().split("\n\n")[:-1]:
        if text.startswith(":"):
            frames.append(("", None, text[2:]))
            continue
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        place = int(fields["id"]) if "id" in fields else None
        frames.append((fields["event"], place, json.loads(fields["data"])))
    return frames


async def collect(db, count, **query):
    """The first ``count`` frames of a subscription, without the opening comment."""
    frames = []
    with trio.fail_after(PATIENCE_SECS):
        async with aclosing(db.subscribe(StreamQuery(**query))) as blobs:
            async for blob in blobs:
                frames += [frame for frame in parse(blob) if frame[2] != "ok"]
                if len(frames) >= count:
                    break
    return frames[:count]


def places(frames):
    return [place for _, place, _ in frames]
