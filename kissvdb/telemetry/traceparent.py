"""The header ``traceparent`` (W3C Trace Context, level 1): which trace a request belongs to."""

import re

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 1


def read(text: str) -> tuple[int, int, bool] | None:
    """The ids of the trace and of the caller's span, and whether it is sampled; None for what is
    no such header: then it is ignored, as the standard says."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return trace_id, span_id, bool(int(flags, 16) & _SAMPLED)
