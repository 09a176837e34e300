"""Real servers on loopback: Debian's sshd, and git's smart HTTP.

Each is a context manager; inside its block the server listens, and what it needs lies in a folder of the test. Keys
and names of hosts stand in `~/.ssh/config` of the test's HOME, where DVC's file system looks for them; git's own ssh
ignores HOME, and is told by GIT_SSH_COMMAND.
"""

from __future__ import annotations

import base64
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled into Debian's sshd, which looks for it when root starts it
ENVIRONMENT = ("GIT_", "DVC_", "GITDATA_", "XDG_")  # what of the test's environment a session on the server has


@dataclass(frozen=True)
class SshServer:
    """A running sshd, the folder of its keys and its log, and the home of those who use it."""

    folder: Path
    home: Path
    port: int

    @property
    def pid(self) -> int:
        return int((self.folder / "pid").read_text())

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def name(self, host: str, **options: object) -> str:
        """Make a name of this server in ~/.ssh/config; `options` are those of ssh_config, over what reaches it."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": getpass.getuser(),
            "IdentityFile": self.folder / "key",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "BatchMode": "yes",
        } | options
        lines = [f"Host {host}", *(f"    {key} {value}" for key, value in settings.items())]
        with (self.home / ".ssh" / "config").open("a") as config:
            config.write("\n".join(lines) + "\n")
        return host

    def key(self, name: str, restriction: str | None = "") -> Path:
        """A new key, let in under a `restriction` of authorized_keys; None: not let in at all."""
        path = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        if restriction is not None:
            with (self.folder / "authorized_keys").open("a") as keys:
                keys.write(f"{restriction} {path.with_suffix('.pub').read_text()}".lstrip())
        return path


@contextmanager
def ssh_server(folder: Path, home: Path, *, sftp: str | None = "internal-sftp") -> Iterator[SshServer]:
    """An sshd that lets in whoever has `folder/key`; `sftp` is what serves files, None: it serves git alone."""
    if SSHD is None:
        pytest.skip("sshd is not installed (Debian: apt-get install openssh-server)")
    pytest.importorskip("dvc_ssh", reason="gitdata[ssh] is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    (home / ".ssh").mkdir(exist_ok=True, mode=0o700)
    names = home / ".ssh" / "config"
    names.touch()
    before = names.read_bytes()
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True, mode=0o755)
    with free_port() as port:
        server = SshServer(folder, home, port)
    server.key("host", None)
    server.key("key")
    server.known_hosts.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(_sshd_config(server, sftp))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
        )
    try:
        while not _greets(port):
            assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait()
        names.write_bytes(before)  # nobody is to be led to a server that is gone


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(4) == b"SSH-"
    except ConnectionError:
        return False


def _sshd_config(server: SshServer, sftp: str | None) -> str:
    passed = {
        key: value for key, value in os.environ.items() if key.startswith(ENVIRONMENT) and key != "GIT_SSH_COMMAND"
    }
    return "\n".join(
        [
            f"ListenAddress 127.0.0.1:{server.port}",
            f"HostKey {server.folder / 'host'}",
            f"AuthorizedKeysFile {server.folder / 'authorized_keys'}",
            f"PidFile {server.folder / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "SetEnv " + " ".join(f'"{key}={value}"' for key, value in passed.items()),
            *([f"Subsystem sftp {sftp}"] if sftp else []),
            "",
        ]
    )


@contextmanager
def free_port() -> Iterator[int]:
    """A port on which nobody listens, nor can while the block lasts: whoever connects is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def ssh_command(home: Path) -> str:
    """What GIT_SSH_COMMAND is to be for git to find the names of hosts."""
    return f"ssh -F {shlex.quote(str(home / '.ssh' / 'config'))}"


@contextmanager
def http_server(root: Path, *, writable: bool = True, password: str = "") -> Iterator[str]:
    """The repositories below `root` over smart HTTP; the URL of `root`. `password`: what whoever pushes must know."""

    class Backend(_GitHttpBackend):
        project_root = root
        is_writable = writable
        needed = password

    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:  # it listens from here on
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _GitHttpBackend(BaseHTTPRequestHandler):
    """Hands every request to `git http-backend`, a CGI program."""

    project_root: Path
    is_writable: bool
    needed: str

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if self.needed and "git-receive-pack" in self.path and not self._is_let_in():
            self._body()
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        variables = {
            "GIT_PROJECT_ROOT": str(self.project_root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = self._backend(variables, self._body())
        head, _, content = done.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines())
        self.send_response(int(fields.pop("Status", "200").split(" ")[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def _backend(self, variables: Mapping[str, str], body: bytes) -> bytes:
        command = ["git", "-c", f"http.receivepack={str(self.is_writable).lower()}", "http-backend"]
        length = {"CONTENT_LENGTH": str(len(body))} if body else {}
        return subprocess.run(
            command, input=body, stdout=subprocess.PIPE, env={**os.environ, **variables, **length}, check=True
        ).stdout

    def _is_let_in(self) -> bool:
        _, _, encoded = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(encoded).decode().partition(":")[2] == self.needed

    def _body(self) -> bytes:
        """What the client sends, in one piece or, a large pack, in chunks."""
        reader: IO[bytes] = self.rfile
        if self.headers.get("Transfer-Encoding") != "chunked":
            return reader.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(reader.readline(), 16):
            pieces.append(reader.read(size))
            reader.readline()
        reader.readline()
        return b"".join(pieces)

    def log_message(self, *_: object) -> None:
        """Nothing: standard error belongs to the test."""
