"""Pushing and fetching by path, over SSH and over smart HTTP: real servers, and everything that goes over a wire."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import servers
from servers import SshServer
from world import Clone, Server, World, fingerprint, run

pytestmark = pytest.mark.slow
USER = getpass.getuser()


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


def stored(world: World) -> set[str]:
    """The names of the blobs in the server's store, packages aside."""
    return {path.parent.name + path.name for path in (world.server.store / "files").rglob("*") if path.is_file()}


@pytest.mark.parametrize("transport", ["path", "SSH URL", "HTTP, store committed"])
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
    assert "looks for models that have something to learn" in world.clone.push()
    there_first = (world.server.path / "at-the-time-of-refs").read_text().split()
    assert {Path(name).parent.name + Path(name).name for name in there_first} == stored(world)
    assert any(name.endswith(".dir") for name in stored(world))
    world.server.wait()
    (champion,) = world.clone.gitdata("models", "--json").records
    assert champion["champion"]
    world.clone.gitdata("checkout", "lattice")
    second = Clone(world.root / "second")
    run("git", "clone", "--quiet", url, second.path, cwd=world.root)
    second.gitdata("init")
    second.gitdata("pull", "lattice")
    assert delivered(second) == delivered(world.clone)
    assert sum(name.endswith(".csv") for name in delivered(second)) == 2
    second.gitdata("predict", "lattice", world.lattice("new", 20, 21), "-o", "predicted.csv")
    assert len((second.path / "predicted.csv").read_text().splitlines()) == 1 + 16


def delivered(clone: Clone) -> dict[str, str]:
    found = fingerprint(clone.path / "datasets")
    return {Path(name).relative_to(clone.path).as_posix(): digest for name, digest in found.items()}


@pytest.mark.parametrize("transport", ["scp-like", "HTTP"])
def test_many_refs_deletions_force_and_no_op_pushes_over_a_wire(
    world: World, transport: str, request: pytest.FixtureRequest
) -> None:
    connect(world, transport, request)
    clone = world.clone
    clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    first = clone.commit("settings")
    clone.push("-o", "gitdata.skip", "origin", "HEAD:main")
    assert world.server.spool.jobs() == []
    assert len(stored(world)) == 4

    clone.gitdata("extend", "lattice", world.lattice("more", 2, 3), "-m", "more")
    tree = clone.git("rev-parse", "HEAD^{tree}")
    tips = {f"refs/heads/side-{n}": clone.git("commit-tree", "-p", first, "-m", f"{n}", tree) for n in range(60)}
    clone.push("origin", *(f"{commit}:{ref}" for ref, commit in tips.items()))
    assert len(stored(world)) == 8
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


@pytest.mark.parametrize("transport", ["SSH URL", "HTTP"])
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


def no_key(server: SshServer) -> dict[str, object]:
    (server.folder / "no-key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n")
    return {"IdentityFile": server.folder / "no-key"}


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (git_alone, 2, "dvc remote add -d"),
        (unknown, 2, "known_hosts"),
        (mistaken, 2, "known_hosts"),
        (no_key, 2, "~/.ssh/config"),
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
    with servers.ssh_server(tmp_path / "sshd", Path(os.environ["HOME"]), sftp=None) as forge:
        based.git("remote", "set-url", "origin", f"{forge.name('forge')}:{world.server.path}")
        assert "dvc remote add -d" in based.push(ok=False)
        assert "dvc remote add -d" in based.gitdata("push", code=2).err
    assert refs(world.server) == {}


def test_a_store_that_falls_silent_ends_a_push(world: World, based: Clone, tmp_path: Path) -> None:
    """It lets us in and never answers, as a frozen machine does: nobody waits for it for ever."""
    program = (
        "from gitdata.storage import patience; patience.STALLED = 3.0\n"
        "from gitdata.cli import main; import sys; main(sys.argv[1:])"
    )
    with servers.ssh_server(tmp_path / "sshd", Path(os.environ["HOME"]), sftp="/bin/sleep 600") as frozen:
        based.git("remote", "set-url", "origin", f"{frozen.name('frozen')}:{world.server.path}")
        done = run(sys.executable, "-P", "-c", program, "push", cwd=based.path)
    assert (done.code, "nothing moved for 3 seconds" in done.err) == (5, True), done
    assert refs(world.server) == {}


def test_every_way_to_write_the_whole_path_leads_to_the_same_store(world: World, based: Clone) -> None:
    for url in (f"{USER}@server:{{}}", f"ssh://{USER}@server{{}}", "ssh://server{}/", "ssh://server/{}"):
        based.git("remote", "set-url", "origin", url.format(world.server.path))
        assert based.gitdata("push", "--json").records[0]["bytes"] > 0
        assert len(stored(world)) == 4
        shutil.rmtree(world.server.store)


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
    assert len(stored(world)) == 4
    beside = Clone(world.root / "beside")
    run("git", "init", "--quiet", beside.path, cwd=world.root)
    based.git("remote", "set-url", "origin", f"server:{beside.path}")
    based.push("origin", "HEAD:refs/heads/pushed")
    assert len(list((beside.path / ".git" / "gitdata" / "remote").rglob("*.dir"))) == 1
    assert not (beside.path / "gitdata").exists()


def test_nothing_is_made_where_there_is_no_repository(world: World, based: Clone) -> None:
    before = sorted(world.root.iterdir())
    for path in ("nowhere.git", "not/there/at/all.git"):
        based.git("remote", "set-url", "origin", f"ssh://server{world.root}/{path}")
        assert "is no git repository" in based.gitdata("push", code=5).err
    assert sorted(world.root.iterdir()) == before


def test_a_store_is_not_made_in_a_folder_that_is_missing(world: World, based: Clone) -> None:
    configure(based.path / ".dvc" / "config.local", f"ssh://server{world.root}/not-mounted/store")
    assert "there is no folder" in based.gitdata("push", code=5).err
    configure(based.path / ".dvc" / "config.local", f"ssh://server{world.root}/store")
    based.gitdata("push")
    assert len(list((world.root / "store").rglob("*.dir"))) == 1


def test_a_path_below_the_login_folder_is_a_forges_and_names_dvc_remote_add(world: World, based: Clone) -> None:
    below = os.path.relpath(world.server.path, Path(f"~{USER}").expanduser())
    for url in (f"server:{below}", f"ssh://server/~/{below}"):
        based.git("remote", "set-url", "origin", url)
        based.git("ls-remote", "origin")  # git reaches it
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
    assert len(folders) == 7
    assert {folder.stat().st_mode & 0o7777 for folder in folders} == {0o2775}
    based.git("remote", "set-url", "origin", url.format(world.server.path))
    based.push()
    assert world.server.store.stat().st_mode & 0o2020 == 0


def test_an_upload_that_is_cut_off_leaves_nothing_under_a_blobs_name(
    world: World, based: Clone, ssh_server: SshServer
) -> None:
    based.git("remote", "set-url", "origin", f"server:{world.server.path}")
    large = world.root / "incoming" / "large.csv"
    large.write_text("a,b,c,d\n" + "1234567890,0.123456789,-1234567890.5,12345678901234567890\n" * 1_000_000)
    based.gitdata("add", "large", large, "-m", "large")
    content = hashlib.md5(large.read_bytes()).hexdigest()
    for victim in ("client", "connection"):
        command = [sys.executable, "-P", "-m", "gitdata", "push", "large"]
        with subprocess.Popen(command, cwd=based.path, stderr=subprocess.PIPE, text=True) as client:
            while not any(path.stat().st_size > 100_000 for path in world.server.store.rglob(".*.tmp")):
                assert client.poll() is None, "it was faster than we could look"
            if victim == "client":
                client.kill()
            end_sessions(ssh_server)
            said = client.communicate()[1]
        assert client.returncode == (-9 if victim == "client" else 5), said
        parts = list(world.server.store.rglob(".*.tmp"))
        assert 100_000 < max(part.stat().st_size for part in parts) < large.stat().st_size
        for part in parts:
            part.unlink()
        assert content not in stored(world)
        assert not any(name.endswith(".dir") for name in stored(world))
    based.gitdata("push", "large")
    for path in (world.server.store / "files").rglob("*"):
        if path.is_file():
            name = (path.parent.name + path.name).removesuffix(".dir")
            assert hashlib.md5(path.read_bytes()).hexdigest() == name
    assert content in stored(world)


def end_sessions(server: SshServer) -> None:
    sessions = psutil.Process(server.pid).children(recursive=True)
    for session in sessions:
        session.kill()
    psutil.wait_procs(sessions)


def test_of_many_blobs_a_server_is_asked_by_folders(
    world: World, based: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gitdata.commands.transfer import open_remote
    from gitdata.storage.cache import Blob
    from gitdata.storage.remote import LISTED, _Cloud

    based.gitdata("push")
    held = [Blob(path.parent.name + path.name, path.stat().st_size) for path in world.server.store.rglob("*/??/*")]
    assert len(held) == 4
    asked: list[Blob] = []
    size = _Cloud.size
    monkeypatch.setattr(_Cloud, "size", lambda self, blob: (asked.append(blob), size(self, blob))[1])
    absent = [Blob(f"{blob.md5[:2]}{n:030x}", 1) for blob in held for n in range(LISTED)]
    shorter = [Blob(blob.md5, 1) for blob in held]
    remote = open_remote(based.repo, "data")
    assert remote.missing([*held, *absent, *shorter]) == [*absent, *shorter]
    assert asked == []
