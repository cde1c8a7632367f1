"""What pyproject.toml cannot say: how the actor kit is called once it is installed.

In the repository it is the package ``actors``. A wheel must not take so general a name from others:
there it is ``kissvdb_actors``, and the imports of what goes into it are changed accordingly. An
editable installation uses the files as they are.
"""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

INSTALLED = "kissvdb_actors"
# A statement that imports it, or the one place that says its name.
_NAMED = re.compile(r'^(\s*(?:from |import )|_ACTORS = ")actors\b', re.MULTILINE)


class BuildPy(build_py):
    """Copies modules; names the kit in them as it is installed."""

    def build_module(self, module, module_file, package):
        made = super().build_module(module, module_file, package)
        if not self.editable_mode:
            path = Path(made[0])
            text = path.read_text(encoding="utf-8")
            renamed = _NAMED.sub(rf"\1{INSTALLED}", text)
            if renamed != text:
                path.write_text(renamed, encoding="utf-8")
        return made


setup(
    packages=[*find_namespace_packages(include=["kissvdb", "kissvdb.*"]), INSTALLED],
    package_dir={INSTALLED: "actors"},
    cmdclass={"build_py": BuildPy},
)
