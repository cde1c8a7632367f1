"""A memory and a semantic cache for agents, over the client: read, copy and change them."""

from .cache import SemanticCache
from .memories import Memories, Memory

__all__ = ["Memories", "Memory", "SemanticCache"]
