"""The image and what runs it: names that are ours, and steps that work where there is no Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from kissvdb.settings import SETTINGS
from tests.crash.process import free_port
from tests.patience import PATIENCE_SECS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
HADOLINT = shutil.which("hadolint")
IMAGES_SECS = 600
"""Making the environment of the image anew, on a busy machine."""


def steps(text):
    """(instruction, arguments) of each step of a Dockerfile."""
    joined = re.sub(r"\\\n\s*", "", "\n".join(x for x in text.split("\n") if x[:1] != "#"))
    return [tuple(line.split(" ", 1)) for line in joined.split("\n") if line]


STEPS = steps((CONFIG / "docker" / "Dockerfile").read_text())
COMPOSE = yaml.safe_load((CONFIG / "docker" / "compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((CONFIG / "kubernetes.yaml").read_text()))


def environment(steps):
    found = {}
    for name, arguments in steps:
        if name == "ENV":
            found.update(part.split("=", 1) for part in arguments.split())
    return found


def stages():
    starts = [at for at, (name, _) in enumerate(STEPS) if name == "FROM"]
    return STEPS[starts[0] + 1 : starts[1]], STEPS[starts[1] + 1 :]


def test_every_variable_is_a_setting():
    (container,) = KUBERNETES[1]["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]}
    names |= set(COMPOSE["services"]["kissvdb"]["environment"])
    names |= set(environment(stages()[1]))
    ours = {name for name in names if name.startswith(("KISSVDB_", "RUSTKISS_"))}
    assert "KISSVDB_STORAGE_DATA_DIR" in ours
    assert ours <= {name for row in SETTINGS.values() for name in row.environment_names}


def test_the_image_runs_as_nobody_special_and_says_when_it_is_well():
    last = dict(stages()[1])
    assert last["USER"] == "10001:10001"
    assert "/v1/ready" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"]) == ["kissvdb", "serve"]
    # Its packages are those that the project pins.
    pinned = "--require-hashes -r scripts/requirements.lock"
    assert any(pinned in text for name, text in stages()[0] if name == "RUN")


def test_what_is_copied_is_let_in():
    ignore = (CONFIG / "docker" / "Dockerfile.dockerignore").read_text().split("\n")
    copied = {
        source
        for name, text in STEPS
        if name == "COPY" and "--from" not in text
        for source in text.split()[:-1]
    }
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignore


def test_compose_starts_what_there_is():
    build = COMPOSE["services"]["kissvdb"]["build"]
    folder = CONFIG / "docker"
    assert (folder / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
    mounted = COMPOSE["services"]["caddy"]["volumes"][0].split(":")[0]
    caddyfile = (folder / mounted).read_text()
    for name in COMPOSE["services"]["caddy"]["environment"]:
        assert "{$" + name + ":" in caddyfile


def test_kubernetes_runs_one_and_asks_the_routes_there_are(kissvdb_server):
    service, stateful = KUBERNETES
    assert stateful["spec"]["replicas"] == 1
    pod = stateful["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = container[probe]["httpGet"]["path"]
        assert httpx.get(kissvdb_server.url + path).status_code == 200
    assert service["spec"]["ports"][0]["port"] == container["ports"][0]["containerPort"] == 9917
    user = dict(stages()[1])["USER"].split(":")[0]
    assert str(pod["securityContext"]["runAsUser"]) == user


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed here")
def test_hadolint_takes_the_file():
    done = subprocess.run(
        [HADOLINT, CONFIG / "docker" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_the_steps_of_the_image_work_without_docker(tmp_path):
    """COPY, RUN and ENV as they stand, in a directory instead of an image; then what the image
    starts, and what says that it is well."""
    build, last = stages()
    source, target, data = tmp_path / "src", tmp_path / "opt", tmp_path / "data"
    for folder in (source, data):
        folder.mkdir()
    places = {"/opt": str(target), "/data": str(data)}
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own["PATH"] = f"{Path(sys.executable).resolve().parent}:{own['PATH']}"
    for name, text in build:
        if name == "COPY":
            *sources, where = text.split()
            for each in sources:
                copy(ROOT / each, source / (where if len(sources) == 1 else Path(where) / each))
        elif name == "RUN":
            run(moved(text, places), source, {**own, **environment(build)})
    variables = {name: moved(value, places) for name, value in environment(last).items()}
    port = str(free_port())
    variables |= {"KISSVDB_SERVER_PORT": port, "RUSTKISS_API_KEY": "the-key"}
    variables["PATH"] = f"{target}/kissvdb/bin:{own['PATH']}"
    check = moved(dict(last)["HEALTHCHECK"].split("CMD ")[1], places).replace("9917", port)
    server = subprocess.Popen(["kissvdb", "serve"], cwd=data, env={**own, **variables})
    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while subprocess.run(
            json.loads(check), env={**own, **variables}, stderr=subprocess.DEVNULL
        ).returncode:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        url = f"http://127.0.0.1:{port}/v1/state/k"
        assert httpx.put(url, json={"value": 1}).status_code == 401
        key = {"authorization": "Bearer the-key"}
        assert httpx.put(url, json={"value": 1}, headers=key).status_code == 200
    finally:
        server.terminate()
        server.wait(PATIENCE_SECS)
    assert (data / "db").is_dir()


def moved(text, places):
    for place, other in places.items():
        text = re.sub(rf"{place}(?=[/ ]|$)", other, text)
    return text


def run(command, folder, variables):
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=IMAGES_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
