"""Pushing and fetching by path, over SSH and over smart HTTP: real servers, and everything that goes over a wire."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import servers
from servers import SshServer
from world import Clone, Server, World, fingerprint, run

pytestmark = pytest.mark.slow

TRANSPORTS = ("path", "SSH URL", "scp-like", "HTTP", "HTTP, store committed")
OVER_A_WIRE = ("SSH URL", "HTTP")


def connect(world: World, transport: str, request: pytest.FixtureRequest) -> str:
    """Let the clone reach the server by a transport; the URL. A forge has no derivable store: it is configured."""
    server, config = world.server.path, world.clone.path / ".dvc"
    match transport:
        case "path":
            url = str(server)
        case "SSH URL":
            request.getfixturevalue("ssh_server")
            url = f"ssh://server{server}"
        case "scp-like":
            request.getfixturevalue("ssh_server")
            url = f"server:{server}"
        case _:
            url = f"{request.getfixturevalue('http_server')}/{server.name}"
    world.clone.git("remote", "set-url", "origin", url)
    if transport == "HTTP":
        configure(config / "config.local", str(world.server.store))
    elif transport == "HTTP, store committed":
        request.getfixturevalue("ssh_server")
        configure(config / "config", f"ssh://server{world.server.store}")
        (config / "config.local").unlink(missing_ok=True)
    return url


def configure(path: Path, store: str) -> None:
    path.write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {store}\n")


def clone_from(world: World, url: str, transport: str) -> Clone:
    other = Clone(world.root / "second")
    run("git", "clone", "--quiet", url, other.path, cwd=world.root)
    other.gitdata("init")
    if transport == "HTTP":
        configure(other.path / ".dvc" / "config.local", str(world.server.store))
    return other


def stored(world: World) -> set[str]:
    """The names of the blobs in the server's store, packages aside."""
    return {path.parent.name + path.name for path in (world.server.store / "files").rglob("*") if path.is_file()}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_blobs_go_before_refs_the_server_retrains_and_a_second_clone_gets_all(
    world: World, transport: str, request: pytest.FixtureRequest
) -> None:
    url = connect(world, transport, request)
    watch = world.server.path / "hooks" / "pre-receive"
    watch.write_text("#!/bin/sh\nfind gitdata/remote -type f >> at-the-time-of-refs\n")
    watch.chmod(0o755)
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 20), "--test", "0.2", "-m", "base")
    world.clone.commit("model")
    assert "retraining queued as job" in world.clone.push()
    there_first = (world.server.path / "at-the-time-of-refs").read_text().split()
    assert {Path(name).parent.name + Path(name).name for name in there_first} == stored(world)
    assert any(name.endswith(".dir") for name in stored(world))
    world.server.wait()
    world.clone.gitdata("fetch")
    (champion,) = world.clone.gitdata("models", "--json").records
    assert champion["champion"]
    second = clone_from(world, url, transport)
    second.gitdata("fetch")
    for clone in (world.clone, second):
        clone.gitdata("checkout", "lattice")
        clone.gitdata("predict", "lattice", world.lattice("new", 20, 21), "-o", "predicted.csv")
    here, there = (
        {str(Path(name).relative_to(c.path)): digest for name, digest in fingerprint(c.path / "datasets").items()}
        for c in (world.clone, second)
    )
    assert here == there
    assert sum(name.endswith(".csv") for name in there) == 2
    assert (second.path / "predicted.csv").read_text() == (world.clone.path / "predicted.csv").read_text()


@pytest.mark.parametrize("transport", OVER_A_WIRE)
def test_many_refs_deletions_force_and_no_op_pushes_over_a_wire(
    world: World, transport: str, request: pytest.FixtureRequest
) -> None:
    connect(world, transport, request)
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    first = clone.commit("settings")
    clone.push("-o", "gitdata.skip", "origin", "HEAD:main")
    assert world.server.spool.jobs() == []
    assert len(stored(world)) == 3

    clone.gitdata("extend", "lattice", world.lattice("more", 2, 3), "-m", "more")
    tree = clone.git("rev-parse", "HEAD^{tree}")
    tips = {f"refs/heads/side-{n}": clone.git("commit-tree", "-p", first, "-m", f"{n}", tree) for n in range(60)}
    clone.push("origin", *(f"{commit}:{ref}" for ref, commit in tips.items()))
    assert len(stored(world)) == 6
    assert refs(world.server) == tips | {"refs/heads/main": first}
    world.server.wait()
    assert len(world.server.spool.jobs()) == 1

    gone = sorted(tips)[:30]
    clone.push("origin", *(f":{ref}" for ref in gone))
    clone.git("commit", "--quiet", "--amend", "-m", "another message")
    clone.push("origin", "HEAD:main")
    clone.git("reset", "--quiet", "--soft", first)
    clone.git("commit", "--quiet", "-m", "yet another")
    clone.push("origin", "HEAD:main", ok=False)
    clone.push("--force", "origin", "HEAD:main")
    kept = {ref: commit for ref, commit in tips.items() if ref not in gone}
    assert refs(world.server) == kept | {"refs/heads/main": clone.git("rev-parse", "HEAD")}
    world.server.wait()

    before = fingerprint(world.server.path)
    assert "up-to-date" in clone.push("origin", "HEAD:main")
    assert fingerprint(world.server.path) == before


def refs(server: Server) -> dict[str, str]:
    listed = server.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines()
    return dict(line.split(" ") for line in listed)


@pytest.mark.parametrize("transport", OVER_A_WIRE)
def test_a_server_that_is_away_is_exit_5_and_changes_nothing(
    world: World, transport: str, request: pytest.FixtureRequest
) -> None:
    connect(world, transport, request)
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    before = fingerprint(world.clone.path / "datasets", world.clone.path / ".dvc")
    with servers.free_port() as port:
        if transport == "HTTP":
            url = f"http://127.0.0.1:{port}/server.git"
        else:
            url = f"ssh://{request.getfixturevalue('ssh_server').name('away', Port=port)}{world.server.path}"
        world.clone.git("remote", "set-url", "origin", url)
        for command in (["fetch"], ["models"], ["pull", "lattice"], *([["push"]] if transport != "HTTP" else [])):
            said = world.clone.gitdata(*command, code=5)
            assert said.out == ""
            assert "again" in said.err
            assert "\r" not in said.err
            assert "\ufffd" not in said.err
            assert len(said.err.splitlines()) <= 12
        world.clone.push(ok=False)
    assert fingerprint(world.clone.path / "datasets", world.clone.path / ".dvc") == before
    assert not world.server.store.exists()


@pytest.fixture
def based(world: World, ssh_server: SshServer) -> Clone:
    """A clone with a dataset whose blobs nobody else has yet."""
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    return world.clone


def git_alone(server: SshServer) -> dict[str, object]:
    return {"IdentityFile": server.key("git-alone", 'restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\""')}


def nobody(server: SshServer) -> dict[str, object]:
    return {"IdentityFile": server.key("nobody", None)}


def read_only(server: SshServer) -> dict[str, object]:
    return {"IdentityFile": server.key("read-only", 'command="internal-sftp -R"')}


def unknown(server: SshServer) -> dict[str, object]:
    (server.folder / "nothing").touch()
    return {"UserKnownHostsFile": server.folder / "nothing"}


def mistaken(server: SshServer) -> dict[str, object]:
    (server.folder / "other").write_text(
        server.known_hosts.read_text().split("ssh-")[0] + public(server.key("x", None))
    )
    return {"UserKnownHostsFile": server.folder / "other"}


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (git_alone, 2, "dvc remote add -d"),
        (unknown, 2, "known_hosts"),
        (mistaken, 2, "known_hosts"),
        (nobody, 5, "~/.ssh/config"),
        (read_only, 5, "Permission denied"),
    ],
)
def test_a_host_that_is_not_as_it_should_be_gets_nothing_and_the_message_says_why(
    world: World,
    based: Clone,
    ssh_server: SshServer,
    options: Callable[[SshServer], dict[str, object]],
    code: int,
    says: str,
) -> None:
    host = ssh_server.name(options.__name__, **options(ssh_server))
    based.git("remote", "set-url", "origin", f"ssh://{host}{world.server.path}")
    said = based.gitdata("push", code=code)
    assert says in said.err
    assert host in said.err
    assert not world.server.store.exists()


def test_a_host_without_sftp_names_dvc_remote_add(world: World, based: Clone, tmp_path: Path) -> None:
    with servers.ssh_server(tmp_path / "sshd", Path(os.environ["HOME"]), sftp=False) as forge:
        based.git("remote", "set-url", "origin", f"{forge.name('forge')}:{world.server.path}")
        assert "dvc remote add -d" in based.push(ok=False)
        assert "dvc remote add -d" in based.gitdata("push", code=2).err
    assert refs(world.server) == {}


@pytest.mark.parametrize(
    "url", ["server:{}", "root@server:{}", "ssh://root@server{}", "ssh://server{}/", "ssh://server/{}"]
)
def test_every_way_to_write_the_whole_path_leads_to_the_same_store(world: World, based: Clone, url: str) -> None:
    import getpass

    based.git("remote", "set-url", "origin", url.replace("root", getpass.getuser()).format(world.server.path))
    based.push()
    assert len(stored(world)) == 3


def test_an_address_with_a_port_and_a_path_with_a_space_need_no_alias(
    world: World, based: Clone, ssh_server: SshServer
) -> None:
    spaced = world.root / "the server.git"
    world.server.path.rename(spaced)
    ssh_server.name("127.0.0.1")
    based.git("remote", "set-url", "origin", f"ssh://127.0.0.1:{ssh_server.port}{world.root}/the%20server.git")
    based.push()
    assert len(list((spaced / "gitdata" / "remote").rglob("*.dir"))) == 1


def test_the_store_lies_where_git_finds_the_repository(world: World, based: Clone) -> None:
    """Git finds `server.git` as `server`, and the repository of a work tree in its `.git`."""
    based.git("remote", "set-url", "origin", f"server:{str(world.server.path).removesuffix('.git')}")
    based.push()
    assert len(stored(world)) == 3
    beside = Clone(world.root / "beside")
    run("git", "init", "--quiet", beside.path, cwd=world.root)
    based.git("remote", "set-url", "origin", f"server:{beside.path}")
    based.push("origin", "HEAD:refs/heads/pushed")
    assert len(list((beside.path / ".git" / "gitdata" / "remote").rglob("*.dir"))) == 1
    assert not (beside.path / "gitdata").exists()


@pytest.mark.parametrize("path", ["{}/nowhere.git", "{}/not/there/at/all.git"])
def test_nothing_is_made_where_there_is_no_repository(world: World, based: Clone, path: str) -> None:
    before = sorted(world.root.iterdir())
    based.git("remote", "set-url", "origin", "ssh://server" + path.format(world.root))
    assert "is no git repository" in based.gitdata("push", code=5).err
    assert sorted(world.root.iterdir()) == before


def test_a_store_is_not_made_in_a_folder_that_is_missing(world: World, based: Clone) -> None:
    configure(based.path / ".dvc" / "config.local", f"ssh://server{world.root}/not-mounted/store")
    assert "there is no folder" in based.gitdata("push", code=5).err
    configure(based.path / ".dvc" / "config.local", f"ssh://server{world.root}/store")
    based.gitdata("push")
    assert len(list((world.root / "store").rglob("*.dir"))) == 1


@pytest.mark.parametrize("url", ["server:{}", "ssh://server/~/{}", "server:~/{}", "server:~root/{}"])
def test_a_path_below_the_login_folder_is_a_forges_and_names_dvc_remote_add(
    world: World, based: Clone, url: str
) -> None:
    login = Path("~" + psutil.Process().username()).expanduser()
    based.git("remote", "set-url", "origin", url.format(os.path.relpath(world.server.path, login)))
    assert "refs/heads" not in based.git("ls-remote", "origin")  # git reaches it
    for said in (based.gitdata("push", code=2).err, based.push(ok=False), based.gitdata("init").out):
        assert "dvc remote add -d" in said
        assert "HOST:/PATH" in said
    assert not world.server.store.exists()


@pytest.mark.parametrize("url", ["{}", "server:{}"])
def test_the_store_of_a_groups_repository_belongs_to_the_group(world: World, based: Clone, url: str) -> None:
    shared = world.root / "group.git"
    run("git", "init", "--quiet", "--bare", "--shared=group", shared, cwd=world.root)
    based.git("remote", "set-url", "origin", url.format(shared))
    based.push()
    store = shared / "gitdata" / "remote"
    folders = {store, *(path for path in store.rglob("*") if path.is_dir())}
    assert len(folders) == 6
    assert {folder.stat().st_mode & 0o7777 for folder in folders} == {0o2775}
    based.git("remote", "set-url", "origin", url.format(world.server.path))
    based.push()
    assert world.server.store.stat().st_mode & 0o2020 == 0


@pytest.mark.parametrize("victim", ["the client", "the connection"])
def test_an_upload_that_is_cut_off_leaves_nothing_under_a_blobs_name(
    world: World, based: Clone, ssh_server: SshServer, victim: str
) -> None:
    based.git("remote", "set-url", "origin", f"server:{world.server.path}")
    based.push()
    before = stored(world)
    large = world.root / "incoming" / "large.csv"
    line = "1234567890,0.123456789,-1234567890.5,12345678901234567890\n"
    large.write_text("a,b,c,d\n" + line * 2_500_000)
    based.gitdata("add", "large", large, "-m", "large")
    command = [sys.executable, "-P", "-m", "gitdata", "push", "large"]
    client = subprocess.Popen(command, cwd=based.path, stderr=subprocess.PIPE, text=True)
    while not any(path.stat().st_size for path in world.server.store.rglob(".*.tmp")):
        assert client.poll() is None, "it was faster than we could look"
    if victim == "the client":
        client.kill()
    else:
        for session in psutil.Process(ssh_server.pid).children(recursive=True):
            session.kill()
    with closing(client.stderr):
        said = client.stderr.read()
    assert client.wait() == (-9 if victim == "the client" else 5), said
    new = {name for name in stored(world) if not name.endswith(".tmp")} - before
    assert not any(name.endswith(".dir") for name in new)
    for path in world.server.store.rglob("*"):
        if path.parent.name + path.name in new:
            assert path.stat().st_size < large.stat().st_size  # a small blob, sent whole beside the large one
    based.gitdata("push", "large")
    clone_from(world, str(world.server.path), "path")
    other = Clone(world.root / "second")
    other.git("pull", "--quiet", str(based.path), "main")
    other.gitdata("checkout", "large")
    (delivered,) = (other.path / "datasets" / "large").rglob("large.csv")
    assert delivered.stat().st_size == large.stat().st_size
