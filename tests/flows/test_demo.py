"""The demo: the customer's first minute, in a person's bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from world import Clone, Place, run

from gitdata.repo import Repo


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The demo, played once without a git identity, with settings that would get in its way."""
    root = tmp_path_factory.mktemp("demo")
    config = root / "gitconfig"
    config.write_text("[init]\n\tdefaultBranch = trunk\n[core]\n\thooksPath = /nowhere\n[commit]\n\tgpgSign = true\n")
    identity = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL")
    environment = {key: value for key, value in os.environ.items() if key not in identity}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gitdata", "demo", "here", "--json"],
        cwd=root, capture_output=True, text=True, env=environment | {"GIT_CONFIG_GLOBAL": str(config)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import json

    return root / "here", [json.loads(line) for line in done.stdout.splitlines()]


def test_five_real_pushes_retrain_and_three_champions_follow_one_another(
    played: tuple[Path, list[dict[str, Any]]],
) -> None:
    root, records = played
    steps = records[:-1]
    assert [r["kind"] for r in steps] == ["demo step"] * 6
    assert len({step["version"] for step in steps}) == 6
    assert steps[-1]["champions"] >= 3
    assert all(step["mae_after"].keys() == {"W_max", "P_peak"} for step in steps)
    assert all(step["rows"].keys() == {"train", "validation", "test"} for step in steps)
    jobs = Place(root / "server.git").gitdata("jobs", "--json").records
    assert [job["state"] for job in jobs] == ["done"] * 6


def test_added_lists_each_extension_once_along_the_champions_lineage(played: tuple[Path, list[dict[str, Any]]]) -> None:
    root, _ = played
    repo = Repo(root / "clone")
    ledger = repo.ledgers(repo.fetch_ledger())["lattice"]
    lineage = [ledger.entries[id].version for id in ledger.lineage(ledger.champion)]
    added = [id for version in lineage for id in version.added]
    assert len(added) == len(set(added))
    assert set(added) <= repo.snapshot().chain("lattice").live
    assert set(added) == ledger.seen(ledger.champion)


def test_what_to_try_next_works(played: tuple[Path, list[dict[str, Any]]]) -> None:
    root, records = played
    clone = Clone(root / "clone")
    for command in (["status"], ["log", "lattice"], ["models", "lattice"], ["pending", "--exit-code"]):
        assert clone.gitdata(*command).out
    test = root / "incoming" / records[-1]["last"] / "test.csv"
    clone.gitdata("predict", "lattice", test, "-o", "predicted.csv")
    assert "version" in clone.git("log", "--stat", "origin/gitdata/models")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_text("mine")
    done = run(sys.executable, "-P", "-m", "gitdata", "demo", "here", cwd=tmp_path)
    assert done.code == 2
    assert "not empty" in done.err
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("GITDATA_TEST_DVC"), reason="GITDATA_TEST_DVC names no dvc of another environment"
)
def test_a_real_dvc_pulls_data_and_packages(played: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    root, _ = played
    dvc = os.environ["GITDATA_TEST_DVC"].split(os.pathsep)[-1]
    run("git", "clone", "--quiet", root / "server.git", tmp_path / "clone", cwd=tmp_path)
    clone = Clone(tmp_path / "clone")
    clone.gitdata("init")
    clone.gitdata("fetch", "lattice@1.0.0")
    pulled = run(dvc, "pull", cwd=clone.path)
    assert pulled.code == 0, pulled
    for extension in clone.repo.work_tree_snapshot().chain("lattice").extensions.values():
        folder = clone.path / "datasets" / "lattice" / extension.stem
        for file in clone.repo.files_of(extension):
            assert (folder / file.place).stat().st_size == file.size
    quiet = run(dvc, "status", "--json", cwd=clone.path)
    assert quiet.out.strip() == "{}", quiet
    cloud = run(dvc, "status", "--cloud", "--json", cwd=clone.path)
    assert cloud.out.strip() == "{}", cloud
    assert clone.git("status", "--porcelain") == ""
    clone.git("checkout", "--quiet", "origin/gitdata/models")
    packages = run(dvc, "pull", cwd=clone.path)
    assert packages.code == 0, packages
    weights = sorted(clone.path.glob("models/lattice/*/weights.safetensors"))
    assert len(weights) == 6
    clone.git("checkout", "--quiet", "main")
    assert clone.gitdata("status").out
