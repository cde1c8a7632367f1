"""Prompts: texts with which a person lets a model begin."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.api.frame.principal import Principal
from kissvdb.api.mcp import memory
from kissvdb.api.mcp.arguments import Recall
from kissvdb.api.mcp.asking import Asker
from kissvdb.api.mcp.tools import TOOLS

_HOW = """\
You have a memory that outlasts this conversation: the tools remember, recall, forget, as_of and
changed_since.
- Before you answer something that may concern earlier conversations, recall it.
- Remember what will matter later: one fact a memory, with the names and dates that it needs.
- When a fact has changed, remember the new one and give the former's id as supersedes.
- Forget only what somebody wants to be gone.
"""


class _Arguments(msgspec.Struct):
    question: str = ""


@attrs.frozen
class Prompt:
    """``with_memories``: it begins with what is recalled about the question."""

    name: str
    title: str
    description: str
    with_memories: bool

    def described(self) -> dict[str, Any]:
        """As prompts/list shows it."""
        question = {
            "name": "question",
            "description": "What memories are recalled for.",
            "required": True,
        }
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [question] if self.with_memories else [],
        }


PROMPTS: Mapping[str, Prompt] = {
    each.name: each
    for each in (
        Prompt("use_memory", "Use the memory", "How to remember and recall.", with_memories=False),
        Prompt(
            "with_memories",
            "Answer with memories",
            "A question together with what is remembered about it.",
            with_memories=True,
        ),
    )
}


def listed(principal: Principal) -> Sequence[dict[str, Any]]:
    """The prompts of a key: all are about memories."""
    if not TOOLS["recall"].is_for(principal):
        return []
    return [each.described() for each in PROMPTS.values()]


async def got(asker: Asker, prompt: Prompt, question: str) -> dict[str, Any]:
    """The messages of a prompt. Raises Failed."""
    text = _HOW
    if prompt.with_memories:
        found = await memory.recall(asker, Recall(question))
        lines = [
            f"- {each.text} (id {each.id}, {each.remembered_at})"
            for each in found.memories
            if isinstance(each.text, str)
        ]
        known = "\n".join(lines) or "(nothing)"
        text = f"What is remembered about it:\n{known}\n\n{question}"
    message = {"role": "user", "content": {"type": "text", "text": text}}
    return {"description": prompt.description, "messages": [message]}
