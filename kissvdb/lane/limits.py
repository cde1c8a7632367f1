"""Every limit of the lane, with its unit in its name."""

import attrs

from kissvdb.config import Config
from kissvdb.lane import descriptors


@attrs.frozen
class LaneLimits:
    """What one connection, and all of them together, may cost.

    The first group comes from the configuration, and from what the system allows. The second
    bounds what no operator needs to tune: shapes that only a broken or hostile client sends.
    """

    connections_max: int
    descriptors_max: int
    header_bytes_max: int
    header_timeout_secs: float
    idle_timeout_secs: float
    body_bytes_max: int
    body_timeout_secs: float
    answer_timeout_secs: float
    shutdown_timeout_secs: float

    request_line_bytes_max: int = 8192
    headers_max: int = 100
    chunk_line_bytes_max: int = 256
    trailer_bytes_max: int = 4096
    chunk_overhead_bytes_max: int = 65536
    receive_bytes_max: int = 65536
    piece_bytes_max: int = 512 * 1024
    pipelined_turn_max: int = 16
    send_stall_secs: float = 20.0
    linger_secs: float = 2.0
    linger_bytes_max: int = 4 * 1024 * 1024
    refusals_max: int = 128
    refusal_descriptors_max: int = 8
    sweep_interval_secs: float = 1.0
    accept_backoff_secs: float = 0.1
    accept_turn_max: int = 64
    poll_turn_secs: float = 0.0006

    @classmethod
    def of(cls, config: Config) -> "LaneLimits":
        """The limits that ``config`` asks for. A body has as long as a whole request."""
        return cls(
            connections_max=config.server.connections_max,
            descriptors_max=descriptors.for_connections(),
            header_bytes_max=config.http.header_bytes_max,
            header_timeout_secs=config.http.header_timeout_secs,
            idle_timeout_secs=config.http.idle_timeout_secs,
            body_bytes_max=config.limits.body_bytes_max,
            body_timeout_secs=config.server.request_timeout_secs,
            answer_timeout_secs=config.server.request_timeout_secs,
            shutdown_timeout_secs=config.server.shutdown_timeout_secs,
        )
