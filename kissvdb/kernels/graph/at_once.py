"""The kernels of searches themselves, for callers that keep all their memory and know that it is
large enough: see the functions that are called ``search``, ``search_filtered``, ``scan_codes`` and
``scan_rows`` for what they do and what they are given."""

from kissvdb.kernels.graph.filtered import _search as search_filtered
from kissvdb.kernels.graph.search import _search as search
from kissvdb.kernels.scan import _scan_codes as scan_codes
from kissvdb.kernels.scan import _scan_rows as scan_rows

__all__ = ("scan_codes", "scan_rows", "search", "search_filtered")
