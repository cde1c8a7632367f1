"""Copy the texts and metadata of a vector collection into another one, whose embedder makes new
vectors of them: ``python another_model.py http://localhost:9917 notes notes-2``.

Create the other one first. May be broken off and run again: what is there is not embedded again.
"""

import json
import os
import sys
from urllib.request import Request, urlopen

PAGE = 64


def call(url: str, body: dict) -> dict:
    """POST JSON, get JSON."""
    headers = {"content-type": "application/json"}
    if os.environ.get("KISSVDB_KEY"):
        headers["authorization"] = f"Bearer {os.environ['KISSVDB_KEY']}"
    with urlopen(Request(url, json.dumps(body).encode(), headers)) as answer:
        return json.load(answer)


def copy(server: str, source: str, target: str) -> int:
    """Copy all; answers how many. Prints how far it is, and what could not be written."""
    done, cursor = 0, None
    while True:
        page = {"limit": PAGE, "include_text": True, "include_meta": True, "cursor": cursor}
        found = call(f"{server}/v1/vector/{source}/scroll", page)
        items = [
            {"id": each["id"], "text": each["text"], "meta": each["meta"], "if_changed": True}
            for each in found["items"]
            if each.get("text")
        ]
        if items:
            answer = call(f"{server}/v1/vector/{target}/upsert_batch", {"items": items})
            for each in answer["results"]:
                if each["status"] == "error":
                    print(each, file=sys.stderr)
        done += len(items)
        print(f"{done} copied", file=sys.stderr)
        cursor = found["cursor"]
        if cursor is None:
            return done


if __name__ == "__main__":
    copy(*sys.argv[1:])
