"""Ask what ingest_pdf.py has ingested: ``python chat_rag_pdf.py "How long may it take?"``

With OPENAI_BASE_URL set a model answers from the best passages. Without, nothing is generated: the
sentences that share most words with the question are shown, from the best passages.
"""

import re
import sys
from typing import Any

from llm import Llm

from kissvdb.client import Client

PASSAGES = 4
SYSTEM = (
    "Answer from the passages only, and name the sources in brackets. Say so if they do not tell."
)

Passage = dict[str, Any]


def passages(client: Client, question: str) -> list[Passage]:
    """The best ones, by words and meaning."""
    found = client.search(question, top_k=PASSAGES)
    return [
        {
            "text": each["document"]["content"],
            "source": each["document"]["metadata"]["filename"],
            "score": each["score"],
        }
        for each in found
    ]


def extracted(question: str, found: list[Passage], count: int = 2) -> str:
    """The sentences with most of the words of the question; the order of passages decides ties."""
    wanted = _words(question)
    sentences = [
        (len(wanted & _words(sentence)), -place, sentence.strip(), each["source"])
        for place, each in enumerate(found)
        for sentence in re.split(r"(?<=[.!?])\s+", each["text"])
    ]
    best = sorted(sentences, reverse=True)[:count]
    return "\n".join(f"{text} [{source}]" for shared, _, text, source in best if shared)


def _words(text: str) -> set[str]:
    """Roughly: the beginnings of the longer words."""
    return {word[:6] for word in re.findall(r"\w{4,}", text.lower())}


def answer(client: Client, question: str, llm: Llm | None) -> str:
    found = passages(client, question)
    if not found:
        return "nothing was found: ingest something first"
    if llm is None:
        return extracted(question, found) or f"closest: {found[0]['text']} [{found[0]['source']}]"
    context = "\n\n".join(f"[{each['source']}]\n{each['text']}" for each in found)
    asked = f"{context}\n\nQuestion: {question}"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]
    return str(llm.complete(messages)["content"])


if __name__ == "__main__":
    with Client() as database:
        print(answer(database, " ".join(sys.argv[1:]), Llm.from_env()))
