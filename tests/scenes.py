"""Scenes in which commands die: set up once, brought back for every death, and looked at afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from world import Done, World, fingerprint

from gitdata import durable
from gitdata.automation import hooks as installed

Call = Callable[..., Done]


@dataclass(frozen=True)
class Scene:
    """A world that is set up once, and brought back before each step that is to be the last."""

    world: World
    backup: Path

    def restore(self) -> None:
        shutil.rmtree(self.world.root)
        shutil.copytree(self.backup, self.world.root, symlinks=True)


def prepare(name: str, tmp_path: Path) -> Scene:
    """A base that is pushed; an extension that is committed but not pushed; for `train` both, with a model."""
    (tmp_path / "world").mkdir()
    world = World.make(tmp_path / "world", init=name != "init")
    if name == "init":
        shutil.copytree(world.root, tmp_path / "backup", symlinks=True)
        return Scene(world, tmp_path / "backup")
    clone, hooks = world.clone, (world.clone.path / ".git" / "hooks", world.server.path / "hooks")
    for folder in hooks:
        shutil.rmtree(folder)  # commands are called here, not woken
    clone.declare()
    clone.gitdata("add", "lattice", world.lattice("a", 0, 6), "--test", "0.2", "-m", "a")
    clone.commit("model")
    clone.gitdata("push")
    clone.git("push", "--quiet", "origin", "HEAD:main")
    if name in ("train", "promote", "rollback"):
        clone.gitdata("train", "lattice")
    more = world.lattice("b", 6, 8)
    if name != "extend":
        clone.gitdata("extend", "lattice", more, "--test", "0.2", "-m", "b")
    if name in ("train", "promote", "rollback", "pull"):
        clone.gitdata("push")
        clone.git("push", "--quiet", "origin", "HEAD:main")
    if name in ("promote", "rollback"):
        clone.gitdata("train", "lattice")
    if name == "pull":
        shutil.rmtree(clone.path / ".dvc" / "cache")
    if name == "extend":
        installed.install(clone.repo)  # or the command does that last
    shutil.copytree(world.root, tmp_path / "backup", symlinks=True)
    return Scene(world, tmp_path / "backup")


def command_of(scene: Scene, name: str) -> list[str]:
    incoming = scene.world.root / "incoming" / "b.csv"
    return {
        "extend": ["extend", "lattice", str(incoming), "--test", "0.2", "-m", "b"],
        "push": ["push"],
        "train": ["train", "lattice"],
        "promote": ["promote", "lattice@1", "-m", "by hand"],
        "rollback": ["rollback", "lattice", "-m", "by hand"],
        "retract": ["retract", "lattice@1.0.0", "--reason", "bad", "-m", "bad"],
        "pull": ["pull"],
        "init": ["init"],
    }[name]


def outcome(scene: Scene, call: Call) -> dict[str, object]:
    """What a command is for: pointers, blobs, refs by the trees they name, the ledger's verdicts."""
    world, clone = scene.world, scene.world.clone
    (models,) = [call(clone.path, "models", "--json")]
    return {
        "work tree": {
            path: content
            for path, content in fingerprint(clone.path / "datasets", clone.path / "models").items()
            if durable.TEMPORARY_PREFIX not in path  # goes with the next write there, or by `gitdata doctor --fix`
        },
        "index": clone.git("ls-files", "--stage"),
        "head": clone.git("rev-parse", "HEAD^{tree}") if clone.repo.git.resolve("HEAD") else "",
        "blobs": fingerprint(clone.path / ".dvc" / "cache" / "files"),
        "store": fingerprint(world.server.store / "files"),
        "packages": fingerprint(world.server.store / "gitdata-models" / "files"),
        "ledger": sorted((v["id"], v["verdict"], v["champion"], v["promoted"]) for v in models.records)
        if models.code == 0
        else [],
    }


def assert_nothing_lies(scene: Scene, call: Call) -> None:
    """Every pointer, ref and blob that is there is what it says."""
    clone, server = scene.world.clone, scene.world.server
    if not (clone.path / ".dvc" / "config").exists():
        return
    done = call(clone.path, "verify", "--deep", "--json")
    found = [record for record in done.records if record["kind"] == "finding" and record["part"] != "cache"]
    assert found == [], done
    for cached in (clone.path / ".dvc" / "cache" / "files", server.store / "files"):
        for path, content in fingerprint(cached, digest="md5").items():
            if ".gitdata-tmp-" not in path:
                named = Path(path).parent.name + Path(path).name.removesuffix(".dir")
                assert content == named, path
    done = call(server.path, "verify", "--remote", "--deep", "--json")
    assert (done.code, len(done.records)) == (0, 1), done
    champions = call(clone.path, "models", "--json")
    assert champions.code in (0, 4) or champions.out == ""
