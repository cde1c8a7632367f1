"""The installed packages that kissvdb stands on, as a bill of materials (CycloneDX 1.6, JSON).

It is made of what is installed, not of what could be: versions and licences are those of the
packages' own metadata.
"""

import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from kissvdb.version import VERSION

Packages = dict[str, importlib.metadata.Distribution]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def document() -> str:
    """The JSON, the same for the same packages."""
    packages = _closure()
    components = sorted(_components(packages), key=lambda each: each["bom-ref"])
    names = "\n".join(each["bom-ref"] for each in components)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"pkg:pypi/kissvdb@{VERSION}\n{names}")
    root = _component("kissvdb", VERSION, [{"license": {"id": "MIT"}}])
    refs = {each["bom-ref"] for each in components}
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {**root, "type": "application"}},
        "components": components,
        "dependencies": [
            {"ref": ref, "dependsOn": sorted(refs & set(wanted))}
            for ref, wanted in sorted(_edges(packages).items())
            if ref in refs or ref == root["bom-ref"]
        ],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _closure() -> Packages:
    """All packages that kissvdb leads to, its extras included, of those that are installed."""
    found: Packages = {}
    waiting = ["kissvdb"]
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += _wanted(found[name], extras=name == "kissvdb")
    return found


def _wanted(package: importlib.metadata.Distribution, extras: bool) -> Iterator[str]:
    for line in package.requires or ():
        named = _NAME.match(line)
        # Of the extras that our dependencies have we ask for none.
        if named and (extras or "extra ==" not in line):
            yield named[0]


def _components(packages: Packages) -> Iterator[dict[str, Any]]:
    for name, package in packages.items():
        if name != "kissvdb":
            yield _component(package.metadata["Name"], package.version, _licences(package))


def _component(name: str, version: str, licences: list[dict[str, Any]]) -> dict[str, Any]:
    ref = f"pkg:pypi/{_normal(name)}@{version}"
    made = {"type": "library", "bom-ref": ref, "name": name, "version": version, "purl": ref}
    return {**made, "licenses": licences} if licences else made


def _edges(packages: Packages) -> dict[str, list[str]]:
    refs = {
        name: f"pkg:pypi/{name}@{VERSION if name == 'kissvdb' else package.version}"
        for name, package in packages.items()
    }
    return {
        refs[name]: [
            refs[other]
            for other in map(_normal, _wanted(package, extras=name == "kissvdb"))
            if other in refs and other != name
        ]
        for name, package in packages.items()
    }


def _licences(package: importlib.metadata.Distribution) -> list[dict[str, Any]]:
    said: Any = package.metadata
    if said.get("License-Expression"):
        return [{"expression": said["License-Expression"]}]
    listed = [each for each in said.get_all("Classifier") or () if each.startswith("License ::")]
    if listed:
        return [{"license": {"name": each.rpartition(" :: ")[2]}} for each in sorted(set(listed))]
    text = (said.get("License") or "").strip()
    # Some have the whole text of it there.
    return [{"license": {"name": text.splitlines()[0][:100]}}] if text else []


def _normal(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()
