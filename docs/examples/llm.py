"""A language model behind any OpenAI-compatible endpoint: OPENAI_BASE_URL, OPENAI_MODEL and
OPENAI_API_KEY.

`from_env` answers None where no endpoint is set: the programs here then work without a model, by
rules, and say so.
"""

import json
import os
from typing import Any
from urllib.request import Request, urlopen

Message = dict[str, Any]


class Llm:
    """POST /chat/completions."""

    def __init__(self, base_url: str, model: str, key: str = "") -> None:
        self.url = f"{base_url.rstrip('/')}/chat/completions"
        self.model = model
        self.key = key

    @classmethod
    def from_env(cls) -> "Llm | None":
        base_url = os.environ.get("OPENAI_BASE_URL")
        if not base_url:
            return None
        model = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
        return cls(base_url, model, os.environ.get("OPENAI_API_KEY", ""))

    def complete(
        self, messages: list[Message], tools: list[dict[str, Any]] | None = None
    ) -> Message:
        """The next message. Raises OSError."""
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if tools:
            body["tools"] = tools
        headers = {"content-type": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        request = Request(self.url, json.dumps(body).encode(), headers)
        with urlopen(request, timeout=120) as answer:
            message: Message = json.load(answer)["choices"][0]["message"]
        return message
