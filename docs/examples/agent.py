"""An agent with a memory that outlasts it: ``python agent.py``, then talk to it line by line.

With OPENAI_BASE_URL set, a model answers, with remember, recall and forget as its tools. Without,
there is no model: a few rules do ("remember that ...", "forget ...", and whatever else is a
question, which is answered by what is recalled). The memory is the same, on the server of
KISSVDB_URL.
"""

import json
import sys
from typing import Any

from llm import Llm, Message
from memory import Memories

from kissvdb.client import Client

SYSTEM = (
    "You have a long-term memory. Recall before you answer, remember what will matter later, one "
    "fact at a time, and give the id of a former fact as supersedes when it has changed."
)
TURNS_MAX = 8
"""So often may a model use its tools for one answer."""


def tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            each: {"type": "string", "description": properties[each]} for each in properties
        },
        "required": list(properties)[:1],
    }
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


TOOLS = [
    tool("remember", "Keep a fact.", text="the fact", supersedes="id of the fact it replaces"),
    tool("recall", "Facts about something.", query="what about"),
    tool("forget", "Delete a fact.", id="its id"),
]


def use(memories: Memories, name: str, arguments: dict[str, str]) -> str:
    """What a tool answers, as text for the model."""
    try:
        if name == "remember":
            return "remembered as " + memories.remember(
                arguments["text"], supersedes=arguments.get("supersedes") or None
            )
        if name == "recall":
            found = memories.recall(arguments["query"])
            return json.dumps([{"id": each.id, "text": each.text} for each in found])
        if name == "forget":
            return "forgotten" if memories.forget(arguments["id"]) else "there is no such fact"
        return f"there is no tool {name}"
    except Exception as problem:
        # The model reads what went wrong, and may do better.
        return f"{type(problem).__name__}: {problem}"


def by_model(llm: Llm, memories: Memories, said: str) -> str:
    """The model's answer, after it has used its tools as often as it likes."""
    messages: list[Message] = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": said},
    ]
    for _ in range(TURNS_MAX):
        message = llm.complete(messages, TOOLS)
        calls = message.get("tool_calls") or []
        if not calls:
            return str(message.get("content") or "")
        messages.append(message)
        for call in calls:
            function = call["function"]
            answer = use(memories, function["name"], json.loads(function["arguments"] or "{}"))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})
    return "(the model did not come to an answer)"


def by_rules(memories: Memories, said: str) -> str:
    """Without a model: nothing is understood, what is asked is only looked for."""
    first, _, rest = said.partition(" ")
    rest = rest.removeprefix("that ").strip()
    if first.lower() == "remember" and rest:
        former = memories.recall(rest, k=1, min_score=0.75)
        memories.remember(rest, supersedes=former[0].id if former else None)
        return f"noted, instead of: {former[0].text}" if former else "noted"
    found = memories.recall(rest if first.lower() == "forget" else said, k=1)
    if not found:
        return "I remember nothing about that"
    if first.lower() == "forget":
        memories.forget(found[0].id)
        return f"forgotten: {found[0].text}"
    return f"you told me: {found[0].text}"


def main() -> None:
    llm = Llm.from_env()
    who = f"answered by {llm.model}" if llm else "no OPENAI_BASE_URL: rules answer, not a model"
    print(f"({who})", flush=True)
    with Client() as client:
        memories = Memories(client)
        for line in sys.stdin:
            if said := line.strip():
                answer = by_model(llm, memories, said) if llm else by_rules(memories, said)
                print(answer, flush=True)


if __name__ == "__main__":
    main()
