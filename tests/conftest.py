"""What all tests share: an environment without a person's settings, real repositories, and the lattice data."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import loaded
import pytest
import servers
from hypothesis import HealthCheck, settings
from servers import SshServer
from world import Clone, Server, World

# Tests that import JAX at their top do so before gitdata sets it up; see docs/known-traps.md.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shared machine may be slow: no test asserts a wall time, so Hypothesis must not either.
settings.register_profile("gitdata", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gitdata")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def plain_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No git, DVC or gitdata settings of whoever runs the tests; one compile cache for all of them."""
    home = tmp_path_factory.mktemp("home")
    settings = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.invalid",
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-user"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
        "DVC_NO_ANALYTICS": "1",
        "GITDATA_COMPILE_CACHE": os.environ.get("GITDATA_COMPILE_CACHE") or str(home / "compiled"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "GITDATA_SKIP", "GITDATA_REMOTE", "GITDATA_PROGRESS", "DVC_")):
                patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        (home / ".gitconfig").write_text('[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n')
        yield


@pytest.fixture(autouse=True, scope="session")
def loaded_python(plain_environment: None) -> Iterator[None]:
    """Commands of gitdata are forked from a Python that has loaded it, where the system can."""
    if os.environ.get("GITDATA_TEST_FRESH") or sys.platform != "linux":
        yield
        return
    with tempfile.TemporaryDirectory() as folder:  # for a socket, whose path must be short
        loaded.python = loaded.LoadedPython(Path(folder))
        yield
        loaded.python.close()
        loaded.python = None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data sets; a test that needs them is skipped where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data sets are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def first_world(loaded_python: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    """What `world` is a copy of."""
    world = World.make(tmp_path_factory.mktemp("world"), init=False)
    world.server.gitdata("install", "--server")
    world.clone.gitdata("init")
    return world


@pytest.fixture
def world(first_world: World, tmp_path: Path) -> World:
    """A server that retrains and a clone with gitdata in it."""
    return first_world.copy(tmp_path)


@pytest.fixture
def clone(world: World) -> Clone:
    return world.clone


@pytest.fixture
def server(world: World) -> Server:
    return world.server


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file beside the repositories; its path."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / "incoming" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


@pytest.fixture(scope="session")
def ssh_server(plain_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A server that git and DVC reach over SSH as the host `server`."""
    home = Path(os.environ["HOME"])
    with pytest.MonkeyPatch.context() as patch, servers.ssh_server(tmp_path_factory.mktemp("sshd"), home) as server:
        patch.setenv("GIT_SSH_COMMAND", servers.ssh_command(home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        server.name("server")
        yield server


@pytest.fixture
def http_server(world: World) -> Iterator[str]:
    """The URL at which smart HTTP serves the repositories of `world`."""
    with servers.http_server(world.root) as url:
        yield url
