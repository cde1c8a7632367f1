"""What the site has beside docs/: the README as its home, files that pages link to, and references
made of the program itself: the HTTP API of its description, the Python client of its classes.
"""

import inspect
import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"(^(?:`{3,})[^\n]*\n.*?^`{3,}$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def on_files(files, config):
    """Add the home page, the references, and what pages link to outside of docs/."""
    files.append(File.generated(config, "reference/http.md", content=http_reference()))
    files.append(File.generated(config, "reference/python.md", content=python_reference()))
    worker = (ROOT / "config" / "iframe-worker.js").read_text("utf-8")
    files.append(File.generated(config, "assets/iframe-worker.js", content=worker))
    waiting = [
        ROOT / "README.md",
        *(DOCS / f.src_uri for f in files.documentation_pages() if f.generated_by is None),
    ]
    seen = set()
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        if not served(page):
            text = linked(page.read_text("utf-8"), page)
            files.append(File.generated(config, place(page), content=text))
        for target in outside(page):
            if target.suffix == ".md":
                waiting.append(target)
            elif target not in seen:
                seen.add(target)
                files.append(File.generated(config, place(target), content=target.read_bytes()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Let links lead to where things are on the site."""
    source = DOCS / page.file.src_uri
    return linked(markdown, source) if page.file.generated_by is None else markdown


def outside(page):
    """The files that a page links to and that are not in docs/."""
    for part in FENCE.split(page.read_text("utf-8"))[::2]:
        for _, link, _ in LINK.findall(part):
            target = target_of(link, page)
            if target is not None and not served(target):
                yield target


def served(target):
    return target.is_relative_to(DOCS) and "examples" not in target.parts


def target_of(link, page):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    target = (page.parent / parts.path).resolve()
    return target if target.is_file() else None


def place(path):
    """Where a file is on the site."""
    if path == ROOT / "README.md":
        return "index.md"
    if served(path):
        return str(path.relative_to(DOCS))
    folder = "project" if path.suffix == ".md" else "files"
    return f"{folder}/{path.relative_to(ROOT)}"


def linked(text, page):
    """The text with its links as they are between the places of both pages on the site."""
    here = PurePosixPath(place(page)).parent

    def changed(match):
        link = match[2]
        target = target_of(link, page)
        if target is None:
            return match[0]
        there = PurePosixPath(place(target))
        up = [".."] * len(here.parts) if not there.is_relative_to(here) else []
        path = "/".join([*up, *there.parts]) if up else str(there.relative_to(here))
        fragment = urlsplit(link).fragment
        return f"{match[1]}{path}{'#' + fragment if fragment else ''}{match[3]}"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts)


def http_reference():
    """Every route, from the description that the server itself serves."""
    from kissvdb.api.description import openapi
    from kissvdb.api.routes import ROUTES

    described = openapi.description(ROUTES)
    lines = [
        "# HTTP reference",
        "",
        "Made from the OpenAPI description, which a server has at `/openapi.yaml`; with words and "
        "examples: [the HTTP API](../api.md).",
    ]
    for tag in (each["name"] for each in described["tags"]):
        lines += ["", f"## {tag}"]
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if isinstance(operation, dict) and tag in operation.get("tags", ()):
                    lines += operation_lines(f"{method.upper()} {path}", operation, described)
    return "\n".join(lines) + "\n"


def operation_lines(name, operation, described):
    yield from ("", f"### `{name}`", "", operation["summary"] + ".")
    if operation.get("description"):
        yield from ("", operation["description"])
    rows = [
        (each["name"], each["in"], kind(each.get("schema", {})), each.get("description", ""))
        for each in (resolved(each, described) for each in operation.get("parameters", ()))
    ]
    bodies = operation.get("requestBody", {}).get("content", {})
    schema = resolved(bodies.get("application/json", {}).get("schema", {}), described)
    for field, of in schema.get("properties", {}).items():
        of = resolved(of, described)
        where = "body, required" if field in schema.get("required", ()) else "body"
        rows.append((field, where, kind(of), of.get("description", "")))
    if rows:
        yield from ("", "| name | in | type | |", "|---|---|---|---|")
        for row in rows:
            yield "| `{}` | {} | {} | {} |".format(*map(cell, row))
    if bodies:
        yield from ("", "Body: " + ", ".join(f"`{each}`" for each in bodies) + ".")
    answers = []
    for status, answer in operation["responses"].items():
        codes = re.findall(
            r"(?<!`)`[a-z_]+`(?!`)", resolved(answer, described).get("description", "")
        )
        answers.append(f"{status} {', '.join(dict.fromkeys(codes))}".strip())
    yield from ("", "Answers ([codes](../errors.md)): " + "; ".join(answers) + ".")


def resolved(part, described):
    """What a reference leads to."""
    while "$ref" in part:
        found = described
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def kind(schema):
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    of = schema.get("type") or " or ".join(
        kind(each) for each in schema.get("anyOf", schema.get("oneOf", ()))
    )
    of = " or ".join(of) if isinstance(of, list) else of
    if "enum" in schema:
        of = ", ".join(str(each) for each in schema["enum"])
    return f"array of {kind(schema['items'])}" if of == "array" and "items" in schema else of


def cell(value):
    return " ".join(str(value or "").split()).replace("|", "\\|")


def python_reference():
    """The methods of the client, from their signatures and docstrings."""
    from kissvdb import client as room

    client = room.Client(config=room.Config())
    parts = {"client": client}
    parts.update(
        (f"client.{name}", part)
        for name, part in vars(client).items()
        if type(part).__module__.startswith("kissvdb.client.blocking") and not name.startswith("_")
    )
    client.close()
    lines = [
        "# Python client",
        "",
        "Made from the classes: `Client` as here; `AsyncClient` has the same methods, to be "
        "awaited. With words and examples: [clients](../clients.md).",
    ]
    for name, part in parts.items():
        lines += ["", f"## `{name}`", "", documentation(type(part))]
        for method in public(type(part)):
            lines += method_lines(name, *method)
    lines += ["", "## Answers"]
    for name in sorted(room.__all__):
        found = getattr(room, name)
        if inspect.isclass(found) and found.__module__ == "kissvdb.client.results":
            lines += ["", f"### `{name}`", "", documentation(found), ""]
            lines += [
                f"- `{field}: {shown_type(of)}`" for field, of in found.__annotations__.items()
            ]
    return "\n".join(lines) + "\n"


def shown_type(of):
    """As one writes it."""
    of = of.__name__ if type(of) is type else str(of)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", of)


def public(owner):
    for name, found in vars(owner).items():
        if name.startswith("_") or not (inspect.isfunction(found) or isinstance(found, property)):
            continue
        # A second name of the same is told with the first.
        if getattr(found, "__name__", name) == name:
            yield name, found


def method_lines(part, name, found):
    if isinstance(found, property):
        return ["", f"### `{part}.{name}`", "", documentation(found)]
    signature = inspect.signature(found)
    own = [each for each in signature.parameters.values() if each.name != "self"]
    # Names as one writes them, not where they come from.
    shown = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", str(signature.replace(parameters=own)))
    shown = shown.replace("'", "")
    return [
        "",
        f"### `{part}.{name}`",
        "",
        "```python",
        f"{name}{shown}",
        "```",
        "",
        documentation(found),
    ]


def documentation(found):
    return inspect.getdoc(found) or ""
