#!/usr/bin/env python3
"""Fetch the modules that the page stands on, as npm has them, and check what is here.

scripts/vendor.py          fetch all anew into kissvdb/web/vendor
scripts/vendor.py --check  only compare what lies there with the sums below; no network
"""

import hashlib
import io
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import NamedTuple

WEB = Path(__file__).resolve().parents[1] / "kissvdb" / "web"
VENDOR = WEB / "vendor"


class Package(NamedTuple):
    """A release: where it is, the SHA-256 of its archive, and what is taken of it: the name here
    to its path in the archive and the SHA-256 of the file."""

    url: str
    sha256: str
    files: dict[str, tuple[str, str]]


PACKAGES = (
    # One module: htm 3.1.1 (Apache-2.0) with the preact 10 (MIT) that it was built with.
    Package(
        "https://registry.npmjs.org/htm/-/htm-3.1.1.tgz",
        "2425b9bee11409177bcabc7f32e319926fc6690c1701c0b257c88bdff2d5ba90",
        {
            "preact.js": (
                "preact/standalone.module.js",
                "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7",
            ),
            "htm.LICENSE.txt": (
                "LICENSE",
                "740725f7252e750af735d0028cc534970772f513331e9f68150fede8fb3ce00f",
            ),
        },
    ),
    Package(
        "https://registry.npmjs.org/preact/-/preact-10.5.7.tgz",
        "e7bc5ef662c4a32b8c93ae9c19d95d8cd7c485256ee4506c64513e2887649e02",
        {
            "preact.LICENSE.txt": (
                "LICENSE",
                "1fe6958409c8c257a70c587a18b6f7f412b179b456630790d30b2ec9a8e4b7d4",
            )
        },
    ),
    Package(
        "https://registry.npmjs.org/uplot/-/uplot-1.6.32.tgz",
        "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
        {
            "uplot.js": (
                "dist/uPlot.esm.js",
                "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
            ),
            "uplot.css": (
                "dist/uPlot.min.css",
                "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
            ),
            "uplot.LICENSE.txt": (
                "LICENSE",
                "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
            ),
        },
    ),
    Package(
        "https://registry.npmjs.org/codejar/-/codejar-4.3.0.tgz",
        "ca065fec42696afdb2d76444e2a884b6418b46243cb4783e29d5397b568b3c8a",
        {
            "codejar.js": (
                "dist/codejar.js",
                "faccc44189de38c2e36288749e2c4db73d7c3a4322ea3c42704388fccd82f96e",
            ),
            "codejar.LICENSE.txt": (
                "LICENSE",
                "e6755b50c51432aae6a3050b2bca416bd45284552a3ca4321a1bbc1ff7fae449",
            ),
        },
    ),
)


def checked(data: bytes, sha256: str, name: str) -> bytes:
    """The data, if it has this sum; else the end of the program."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        sys.exit(f"{name}: its SHA-256 is {found}, not {sha256}")
    return data


def fetch() -> None:
    """Every file, from its archive."""
    for package in PACKAGES:
        with urllib.request.urlopen(package.url, timeout=60) as answer:
            archive = checked(answer.read(), package.sha256, package.url)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for name, (path, sha256) in package.files.items():
                member = files.extractfile(f"package/{path}")
                assert member is not None, f"{package.url} has no {path}"
                (VENDOR / name).write_bytes(checked(member.read(), sha256, name))


def check() -> None:
    """What lies there is what the sums say, and nothing else."""
    sums = {name: sha256 for package in PACKAGES for name, (_, sha256) in package.files.items()}
    found = {path.name for path in VENDOR.iterdir()}
    if found != set(sums):
        sys.exit(f"{VENDOR}: {sorted(found ^ set(sums))} are not both there and known")
    for name, sha256 in sums.items():
        checked((VENDOR / name).read_bytes(), sha256, name)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        fetch()
    check()
