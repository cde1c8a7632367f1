"""The fast lane: the hot routes over httptools on Trio sockets, the rest handed to Hypercorn."""

from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.server import Lane, LaneStatistics, serve_lane

__all__ = ["Lane", "LaneLimits", "LaneStatistics", "serve_lane"]
