"""Channels of which a checkpoint holds only what has changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory, PendingWrite

from kissvdb.langgraph.keys import Place, Tip
from kissvdb.langgraph.reading import Reader, Record


def of_channels(
    threads: Reader, place: Place, id: str | None, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Of each channel the value at the nearest ancestor that stores one, and the writes since then,
    the oldest first."""
    tip = threads.tip(place) if channels else None
    collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    left = set(channels)
    if tip is not None:
        ancestors = threads.chain(tip, id or tip.id)
        # What lies on top of the checkpoint itself is not yet part of it.
        next(ancestors, None)
        for record in ancestors if left else ():
            for write in reversed(threads.writes(place, record.id)):
                if write[1] in left:
                    collected[write[1]].append(write)
            for channel in [each for each in left if record.has(each)]:
                seeds[channel] = threads.value(place, record, channel)
                left.remove(channel)
            if not left:
                break
    found: dict[str, DeltaChannelHistory] = {}
    for channel, writes in collected.items():
        found[channel] = {"writes": writes[::-1]}
        if channel in seeds:
            found[channel]["seed"] = seeds[channel]
    return found


def needed(threads: Reader, tip: Tip) -> list[Record]:
    """The tip's checkpoint, and the ancestors without which a channel of differences could not be
    told."""
    kept: list[Record] = []
    left: set[str] = set()
    for record in threads.chain(tip, tip.id):
        if not kept:
            left = set(record.metadata.get("counters_since_delta_snapshot") or ())
        kept.append(record)
        left = {channel for channel in left if not record.has(channel)}
        if not left:
            break
    return kept
