"""The rules of the house: which way imports go, how long a file may be, where things lie."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = {"errors", "records", "epochs", "config", "metrics", "version", "logs"}
SHARED |= {"settings", "sources"}
# What each room may import of the house, besides itself and the shared words.
ARROWS = {
    "kernels": set(),
    "core": {"kernels"},
    "storage": set(),
    "embedders": {"kernels", "actors"},
    "telemetry": set(),
    "engine": {"kernels", "core", "storage", "embedders", "telemetry", "actors"},
    "commands": {"core", "engine", "storage", "client", "actors", "top"},
    "top": {"client"},
    "api": {"kernels", "core", "engine", "telemetry", "actors", "web"},
    "lane": {"core", "engine", "api", "actors"},
    "embedding": {"core", "engine", "api"},
    "web": set(),
    "wheel": set(),
    "client": set(),
    "adapters": {"client"},
    "langchain": {"adapters", "client"},
    "langgraph": {"adapters", "client"},
    "llamaindex": {"adapters", "client"},
}
TOP = {"actors", "bench", "config", "docs", "kissvdb", "scripts", "tests"}
# Of one room in another order than all: what is below does not know what stands on it.
STEPS = {
    "core": ("filters", "metadata", "postings", "text", "store", "index", "rows"),
    "api": ("frame", "access"),
}
LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FILES_MAX = 14
"""In a folder, beside its __init__."""
LANE_FILES_MAX = 16
"""The life of one connection, to be read in a row."""
ROOT_MODULES = SHARED | {"__init__", "__main__", "cli", "daemon", "testing"}


def modules(*roots):
    return [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "actors":
            yield "actors"
        elif parts[0] == "kissvdb" and len(parts) > 1 and (ROOT / "kissvdb" / parts[1]).is_dir():
            yield parts[1]


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_imports_go_one_way(room):
    for path in modules(f"kissvdb/{room}"):
        wrong = set(rooms_imported(path)) - ARROWS[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


KNOW_NO_MODEL = ("backup", "checkpoints", "database", "model", "owner", "recovery")
MODELS_OWN_WORDS = ("collection", "manifests", "recall", "row", "vectors")


@pytest.mark.parametrize("name", KNOW_NO_MODEL)
def test_what_is_done_with_every_model_knows_none_by_its_name(name):
    tree = ast.parse((ROOT / "kissvdb" / "engine" / f"{name}.py").read_text())
    # An import for a type checker is a name, and no more.
    tree.body = [each for each in tree.body if not isinstance(each, ast.If)]
    names = [each.module for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    assert names, "a module that imports something"
    for module in names:
        last = module.rsplit(".", 1)[-1]
        assert not last.startswith(MODELS_OWN_WORDS), f"{name} imports {module}"


def test_every_room_has_its_arrows():
    rooms = {path.name for path in (ROOT / "kissvdb").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(ARROWS)


def test_shared_words_import_no_room():
    for name in SHARED:
        path = ROOT / "kissvdb" / f"{name}.py"
        assert not set(rooms_imported(path)), path


def test_actors_know_only_trio_and_attrs():
    for path in modules("actors"):
        for name in imported_names(path):
            top = name.split(".")[0]
            standard = top in sys.stdlib_module_names
            assert standard or top in {"actors", "trio", "attrs", "outcome"}, f"{path}: {name}"


def test_no_file_is_longer_than_one_subject():
    for path in modules("actors", "kissvdb", "tests", "bench"):
        lines = len(path.read_text().splitlines())
        assert lines <= LINES_MAX, f"{path.relative_to(ROOT)} has {lines} lines"


def test_no_function_is_longer_than_a_page():
    for path in modules("actors", "kissvdb", "tests", "bench", "scripts"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, f"{path.relative_to(ROOT)}: {node.name}"


def test_no_folder_holds_more_than_one_looks_over():
    for folder in {path.parent for path in modules("actors", "kissvdb")}:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        files_max = LANE_FILES_MAX if folder.name == "lane" else FILES_MAX
        assert len(files) <= files_max, folder.relative_to(ROOT)


def test_every_folder_says_what_it_is_for():
    for folder in {path.parent for path in modules("actors", "kissvdb")}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_the_root_holds_shared_words_and_the_way_in():
    found = {path.stem for path in (ROOT / "kissvdb").glob("*.py")}
    assert found == ROOT_MODULES


@pytest.mark.parametrize("room", sorted(STEPS))
def test_the_parts_of_a_room_stand_on_each_other_in_one_order(room):
    steps = STEPS[room]
    for place, below in enumerate(steps):
        above = {f"kissvdb.{room}.{name}" for name in steps[place + 1 :]}
        for path in modules(f"kissvdb/{room}/{below}"):
            for name in imported_names(path):
                assert ".".join(name.split(".")[:3]) not in above, f"{path}: {name}"


def test_everything_has_its_place():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    if files == [""]:
        pytest.skip("not a git checkout")
    for name in filter(None, files):
        parts = name.split("/")
        if len(parts) > 1:
            assert parts[0] in TOP or parts[0].startswith("."), name
        assert len(parts) <= 4, f"{name} lies more than two folders deep"


def test_a_start_imports_neither_the_other_door_nor_numpy():
    code = "import kissvdb.daemon, sys; print({'quart', 'hypercorn', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_only_the_room_of_logs_knows_what_a_log_is_made_of():
    parts = {"log", "uring", "frames"}
    for path in modules("kissvdb/engine", "kissvdb/api", "kissvdb/lane"):
        if path.parent.name == "log":
            continue
        made_of = {name.split(".")[2] for name in imported_names(path) if of_storage(name)}
        assert not made_of & parts, path.relative_to(ROOT)
    # Whoever opens a log decides which; nobody asks what kind it is.
    kinds = {"LocalLog", "MemoryLog", "SegmentedLog"}
    for path in modules("kissvdb"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                asked = {ast.unparse(part) for part in ast.walk(node.args[1])}
                assert not asked & kinds, f"{path.relative_to(ROOT)}:{node.lineno}"


def of_storage(name):
    return name.startswith("kissvdb.storage.")
