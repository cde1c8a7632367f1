"""LangGraph on a kissvdb server: checkpoints of threads that two workers cannot fork, and a store.

See docs/langchain.md. Needs langgraph-checkpoint: ``pip install 'kissvdb[langgraph]'``.
"""

from kissvdb.adapters.missing import needs

with needs("langgraph"):
    from kissvdb.langgraph.keys import ThreadConflict
    from kissvdb.langgraph.saver import KissSaver
    from kissvdb.langgraph.store import KissStore

__all__ = ["KissSaver", "KissStore", "ThreadConflict"]
