"""The routes of the pages: a part of the one table in `routes`."""

from collections.abc import Callable, Sequence
from typing import Any

from kissvdb.api.description import pages
from kissvdb.api.description.page_files import FOLDERS, PageFiles
from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import Route, Scope, Success
from kissvdb.errors import InvalidArgument, NotFound


def page_routes(table: Callable[[], Sequence[Route]]) -> tuple[Route, ...]:
    """All of them; ``table`` is what the description describes."""
    description = pages.described(table)
    files = PageFiles()
    return (
        _page("/", files.index, "The page", pages.HTML, hot=True),
        _page("/index.html", files.index, "The page", pages.HTML, hot=True),
        *(
            _files(f"/{folder}/{{asset}}", files.asset, "Files of the page", hot=True)
            for folder in FOLDERS
        ),
        _page("/docs", pages.docs, "This description, to read and try", pages.HTML),
        _files("/docs/{asset...}", pages.docs_asset, "Files of the page /docs"),
        _page("/openapi.yaml", description, "This description", pages.YAML),
        _page("/docs/openapi.yaml", description, "This description", pages.YAML),
        _page("/kissvdb.js", pages.client, "The client for JavaScript", pages.JAVASCRIPT),
        _page("/kissvdb.d.ts", pages.client_types, "Its types", pages.TYPESCRIPT),
    )


def _page(
    path: str, operation: pages.Page, summary: str, media: str, *, hot: bool = False
) -> Route:
    type_ = dict[str, Any] if media == pages.YAML else None
    return Route(
        "GET",
        path,
        operation,
        summary,
        "pages",
        Success(summary, type_, media=media),
        scope=Scope.PUBLIC,
        reach=touches.NOTHING,
        recovered=False,
        any_query=True,
        hot=hot,
    )


def _files(path: str, operation: pages.Page, summary: str, *, hot: bool = False) -> Route:
    return Route(
        "GET",
        path,
        operation,
        summary,
        "pages",
        Success("The file.", media="*/*"),
        errors=(InvalidArgument, NotFound),
        scope=Scope.PUBLIC,
        reach=touches.A_PAGE,
        recovered=False,
        any_query=True,
        hot=hot,
    )
