"""The recipes of config/ run by the real proxies, on free ports and with certificates made here."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import attrs
import pytest

from tests.crash.process import free_port
from tests.patience import PATIENCE_SECS

CONFIG = Path(__file__).resolve().parents[2] / "config"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") or shutil.which("nginx")
CADDY = shutil.which("caddy")
OPENSSL = shutil.which("openssl")
HOST = "localhost"


def need(*found):
    """Skip where a program is missing."""
    for name, path in zip(("the proxy", "openssl"), found, strict=False):
        if path is None:
            pytest.skip(f"{name} is not installed here")


@attrs.frozen
class Certificates:
    """Of a server called localhost, and of clients of one authority and of a stranger."""

    folder: Path

    @classmethod
    def made(cls, folder):
        folder.mkdir()
        for name in ("ca", "strangers-ca"):
            run = ("req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={name}")
            openssl(folder, *run, "-keyout", f"{name}.key", "-out", f"{name}.pem")
        for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "strangers-ca")):
            openssl(
                folder,
                *("req", *NEW_KEY, "-subj", f"/CN={name}"),
                *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
            )
            (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            openssl(
                folder,
                *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem"),
                *("-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2"),
                *("-extfile", "names", "-out", f"{name}.pem"),
            )
        return cls(folder)

    @property
    def authority(self):
        return self.folder / "ca.pem"

    def trusted(self, client=None):
        """For connections to the server, with the certificate of ``client``."""
        context = ssl.create_default_context(cafile=self.authority)
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return context


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *arguments):
    done = subprocess.run(
        [OPENSSL, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def changed(text, **replaced):
    """The recipe with what the reader is asked to change; each stands in it once or more."""
    for before, after in replaced.values():
        assert before in text, f"the recipe has no {before!r}"
        text = text.replace(before, after)
    return text


def nginx_files(folder, certificates, port, server_port, *, mtls=False):
    recipe = changed(
        (CONFIG / "nginx.conf").read_text(),
        upstream=("server 127.0.0.1:9917;", f"server 127.0.0.1:{server_port};"),
        listen=("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        name=("db.example.org", HOST),
        server=("/etc/ssl/kissvdb/server.", f"{certificates.folder}/server."),
        clients=("/etc/ssl/kissvdb/clients-ca.pem", f"{certificates.authority}"),
        log=("/var/log/nginx/kissvdb.log", f"{folder}/access.log"),
    )
    if mtls:
        recipe = recipe.replace("    #ssl_", "    ssl_")
        assert "\n    ssl_verify_client on;" in recipe
    (folder / "kissvdb.conf").write_text(recipe)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Else its workers are nobody, who may not look into the folders of a test.
    user = "user root;\n" if os.geteuid() == 0 else ""
    # Debian's own file has gzip on: a recipe must work with it.
    (folder / "main.conf").write_text(
        f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 512; }\n"
        f"http {{ gzip on; gzip_types *; {temporary}\ninclude {folder}/kissvdb.conf;\n}}\n"
    )
    return [NGINX, "-p", str(folder), "-c", str(folder / "main.conf"), "-e", f"{folder}/error.log"]


def caddy_files(folder, certificates, port, server_port, *, mtls=False):
    recipe = changed(
        (CONFIG / "Caddyfile").read_text(),
        name=("\n{$KISSVDB_DOMAIN:db.example.org} {", f"\nhttps://{HOST}:{port} {{"),
        server=("/etc/ssl/kissvdb/server.", f"{certificates.folder}/server."),
        clients=("/etc/ssl/kissvdb/clients-ca.pem", f"{certificates.authority}"),
        log=("/var/log/caddy/kissvdb.log", f"{folder}/access.log"),
        upstream=("{$KISSVDB_UPSTREAM:127.0.0.1:9917}", f"127.0.0.1:{server_port}"),
    )
    recipe = taken_in(recipe, "\t#tls ", lambda text: mtls or text.startswith(("\ttls ", "\t}")))
    before, _, rest = recipe.partition("\n{\n")
    options, _, sites = rest.partition("\n}\n")
    assert "enable_full_duplex" in options
    if caddy_version() < (2, 7):
        options = ""
        sites = taken_in(sites, "\t#handle /v1/bulk", lambda text: True)
    options += "\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust"
    options += f"\n\tstorage file_system {folder}/storage\n\tlog {{\n\t\tlevel WARN\n\t}}"
    (folder / "Caddyfile").write_text(f"{before}\n{{\n{options}\n}}\n{sites}")
    return [CADDY, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def taken_in(recipe, first, wanted):
    """The lines of a comment that begins so, without their sign, if they are wanted."""
    lines, inside = [], False
    for line in recipe.split("\n"):
        inside = line.startswith("\t#") and (inside or line.startswith(first))
        if not inside:
            lines.append(line)
        elif wanted(text := line.replace("#", "", 1)):
            lines.append(text)
    assert lines != recipe.split("\n"), f"the recipe has no {first!r}"
    return "\n".join(lines)


def caddy_version():
    done = subprocess.run([CADDY, "version"], capture_output=True, text=True, check=True)
    return tuple(int(part) for part in done.stdout.lstrip("v").split(".")[:2])


FILES = {"nginx": (NGINX, nginx_files), "caddy": (CADDY, caddy_files)}


@attrs.frozen
class Proxy:
    """A proxy that runs, in front of a server on a port of its own."""

    name: str
    url: str
    port: int
    folder: Path
    certificates: Certificates

    @property
    def access_log(self):
        return (self.folder / "access.log").read_text()


@contextlib.contextmanager
def proxy_process(name, folder, certificates, server_port, *, mtls=False):
    """The recipe of ``config/``, run until the block ends."""
    folder.mkdir()
    port = free_port()
    command = FILES[name][1](folder, certificates, port, server_port, mtls=mtls)
    output = folder / "output"
    with output.open("wb") as written:
        process = subprocess.Popen(command, cwd=folder, stdout=written, stderr=written)
    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            assert process.poll() is None, output.read_text()
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1),
            ):
                break
            time.sleep(0.01)
        yield Proxy(name, f"https://{HOST}:{port}", port, folder, certificates)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECS)
