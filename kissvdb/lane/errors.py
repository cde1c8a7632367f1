"""What the lane itself refuses, before a route is asked. The connection is closed afterwards."""

from typing import ClassVar

from kissvdb.errors import Refused


class MalformedRequest(Refused):
    """The bytes are not one clear HTTP/1.1 request, or two servers could read them differently."""


class RequestLineTooLong(Refused):
    """Method, path and query together are over their limit."""

    status: ClassVar[int] = 414


class HeadersTooLarge(Refused):
    """The header lines together, or their number, are over their limit."""

    status: ClassVar[int] = 431
