"""What pyproject.toml cannot say: how the actor kit is called once it is installed.

In the repository it is the package ``actors``. A wheel must not take so general a name from others:
there it is ``kissvdb_actors``, and the imports of what goes into it are changed accordingly. An
editable installation uses the files as they are.
"""

import re
from pathlib import Path

from setuptools.command.build_py import build_py

REPOSITORY, INSTALLED = "actors", "kissvdb_actors"
# A statement that imports it, or the one place that says its name.
_NAMED = re.compile(r'^(\s*(?:from |import )|_ACTORS = ")actors\b', re.MULTILINE)


class BuildPy(build_py):  # type: ignore[misc]
    """Copies modules; names the kit in them as it is installed."""

    packages: list[str] | None
    package_dir: dict[str, str] | None

    def finalize_options(self) -> None:
        super().finalize_options()
        self.packages = [*(self.packages or []), INSTALLED]
        self.package_dir = {**(self.package_dir or {}), INSTALLED: REPOSITORY}

    def build_module(self, module: str, module_file: str, package: str) -> tuple[str, bool]:
        made: tuple[str, bool] = super().build_module(module, module_file, package)
        if not self.editable_mode:
            path = Path(made[0])
            text = path.read_text(encoding="utf-8")
            renamed = _NAMED.sub(rf"\1{INSTALLED}", text)
            if renamed != text:
                path.write_text(renamed, encoding="utf-8")
        return made
