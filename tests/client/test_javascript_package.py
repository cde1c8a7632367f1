"""What npm packs, and whether the types say what the module has."""

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECS

PACKAGE = Path(__file__).resolve().parents[2] / "kissvdb" / "web" / "client"
TYPES = (PACKAGE / "kissvdb.d.ts").read_text(encoding="utf-8")
NODE, NPM = shutil.which("node"), shutil.which("npm")

LIST = """
const module = await import(process.argv[1]);
const db = new module.Client({ url: "http://127.0.0.1:9" });
const methods = (each) => {
  const own = Object.getOwnPropertyNames(Object.getPrototypeOf(each));
  return own.filter((name) => name !== "constructor").sort();
};
const found = { "": Object.keys(module).sort() };
found.Client = [...methods(db), ...Object.keys(db)].sort();
for (const name of Object.keys(db)) found[name] = methods(db[name]);
console.log(JSON.stringify(found));
"""


def ran(*command, **options):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_SECS, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def typed():
    """Names as the types have them: of the module (values, no types), the client, and its parts."""
    found = {"": sorted(re.findall(r"^export class (\w+)", TYPES, re.MULTILINE))}
    body = TYPES.split("export class Client {", 1)[1]
    parts = dict(re.findall(r"^  readonly (\w+): \{\n(.*?)^  \};", body, re.MULTILINE | re.DOTALL))
    for name, text in parts.items():
        found[name] = sorted(re.findall(r"^    (\w+)[<(]", text, re.MULTILINE))
    own = re.findall(r"^  (?:readonly )?(\w+)[<(:]", body, re.MULTILINE)
    found["Client"] = sorted(name for name in own if name != "constructor")
    return found


@pytest.mark.skipif(NODE is None, reason="no Node here")
def test_the_types_name_what_the_module_has_and_nothing_else():
    module = (PACKAGE / "kissvdb.js").as_uri()
    assert typed() == json.loads(ran(NODE, "--input-type=module", "-e", LIST, module))


@pytest.mark.slow
@pytest.mark.skipif(NPM is None, reason="no npm here")
def test_npm_packs_it_and_node_imports_what_was_packed(tmp_path):
    home = {"HOME": str(tmp_path), "PATH": str(Path(NPM).parent), "npm_config_offline": "true"}
    said = ran(NPM, "pack", "--json", "--pack-destination", tmp_path, cwd=PACKAGE, env=home)
    (about,) = json.loads(said)
    names = sorted(each["path"] for each in about["files"])
    assert names == ["kissvdb.d.ts", "kissvdb.js", "package.json"]
    place = tmp_path / "node_modules" / "kissvdb"
    with tarfile.open(tmp_path / about["filename"]) as packed:
        packed.extractall(place, filter="data")
    for each in (place / "package").iterdir():
        each.rename(place / each.name)
    program = tmp_path / "program.mjs"
    program.write_text(
        'import { Client } from "kissvdb"; console.log(typeof new Client().subscribe);'
    )
    assert ran(NODE, program, cwd=tmp_path).strip() == "function"
