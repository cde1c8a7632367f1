"""Make PDFs and texts searchable: ``python ingest_pdf.py paper.pdf notes.md ...``

A PDF needs ``pip install pypdf``. Each page is a document, cut into passages by the server where
sentences end; the same file again replaces what it was. Ask with chat_rag_pdf.py.
"""

import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from kissvdb.client import Client

PASSAGE = {"tokens": 160, "overlap": 30}


def pages(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a file by page, from 1; a text has one."""
    if path.suffix.lower() != ".pdf":
        yield 1, path.read_text("utf-8", errors="replace")
        return
    from pypdf import PdfReader

    for number, page in enumerate(PdfReader(path).pages, 1):
        yield number, page.extract_text()


def ingest(client: Client, path: Path) -> int:
    """Ingest a file; how many pages had a text."""
    count = 0
    for number, text in pages(path):
        if not text.strip():
            continue
        document = {
            # A name for the page that stays: 31 bits of it.
            "id": zlib.crc32(f"{path.name}#{number}".encode()) & 0x7FFFFFFF,
            "content": text,
            "metadata": {
                "filename": f"{path.name}, page {number}",
                "document_id": path.name,
                "processed_at": int(time.time()),
            },
        }
        client.ingest(document, chunk=PASSAGE)
        count += 1
    return count


if __name__ == "__main__":
    with Client() as database:
        for name in sys.argv[1:]:
            print(f"{name}: {ingest(database, Path(name))} pages")
