"""What is rendered for a forge says exactly what was put in, and gitdata knows its own files again."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitdata.automation.forge.package import is_name_alone, requirement_of
from gitdata.automation.forge.placing import decide, is_ours, marked
from gitdata.automation.forge.workflow import FORGES, Pipeline, require_plain
from gitdata.errors import Mendable

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
BRANCHES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,12}", fullmatch=True)
PACKAGES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
STORES = st.sampled_from([None, "", "s3", "gs", "azure", "ssh"])
PIPELINES = st.builds(Pipeline, st.dictionaries(NAMES, BRANCHES, min_size=1, max_size=5), PACKAGES, STORES)


def read(text: str) -> Any:
    return YAML(typ="safe").load(io.StringIO(text))


@settings(max_examples=25)
@given(PIPELINES)
def test_a_github_workflow_says_what_was_declared(pipeline: Pipeline) -> None:
    (text,) = FORGES["github"](pipeline).values()
    workflow = read(text)
    jobs = list(workflow["jobs"].values())
    trained = {
        model: branch
        for branch, job in zip(pipeline.branches, jobs, strict=True)
        for model in job["strategy"]["matrix"]["model"]
    }
    assert trained == pipeline.models
    assert [job["if"] for job in jobs] == [
        f"github.ref == 'refs/heads/{branch}' || github.base_ref == '{branch}'" for branch in pipeline.branches
    ]
    assert workflow["on"]["push"] == workflow["on"]["pull_request"] == {"branches": pipeline.branches}
    assert workflow["env"]["GITDATA_PACKAGE"] == pipeline.package


@given(PIPELINES)
def test_a_gitlab_part_says_what_was_declared(pipeline: Pipeline) -> None:
    part = read(FORGES["gitlab"](pipeline)[".gitlab/gitdata.yml"])
    assert part.pop(".gitdata")["variables"]["GITDATA_PACKAGE"] == pipeline.package
    jobs = [job["variables"] for job in part.values()]
    assert {job["GITDATA_MODEL"]: job["GITDATA_BRANCH"] for job in jobs} == pipeline.models


@given(st.text(), st.text(), st.sampled_from(sorted(FORGES)))
def test_a_file_is_known_again_until_somebody_changes_it(text: str, other: str, forge: str) -> None:
    own = marked(forge, text)
    assert is_ours(own)
    assert not is_ours(text)
    assert is_ours(own + other) == (other == "")
    (placed,) = decide({"f": own}, {"f": marked(forge, text + other)}, force=False)
    assert placed.outcome == ("written" if other else "up to date")
    if other:
        with pytest.raises(Mendable):
            decide({"f": own + other}, {"f": own}, force=False)
        assert decide({"f": own + other}, {"f": own}, force=True)[0].text == own


@pytest.mark.parametrize("branch", ["a b", "v*", "a+", "!main", "it's", "${{x}}", "a$b", "a`b`", "[ab]", "ä"])
def test_branches_that_a_forge_would_read_as_a_pattern_are_refused(branch: str) -> None:
    with pytest.raises(Mendable, match="read as a pattern"):
        require_plain(Pipeline({"m": branch}, "gitdata", None))


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        ({"url": "https://h/g.git", "vcs_info": {"vcs": "git", "commit_id": "c1"}}, "gitdata @ git+https://h/g.git@c1"),
        ({"url": "https://h/g.whl", "archive_info": {}}, "gitdata @ https://h/g.whl"),
        ({"url": "ssh://h/g.git", "vcs_info": {"vcs": "git", "commit_id": "c1"}}, None),
        ({"url": "file:///here", "dir_info": {"editable": True}}, None),
        ({}, None),
    ],
)
def test_what_installs_the_same_again_follows_from_where_it_came_from(
    origin: dict[str, Any], requirement: str | None
) -> None:
    assert requirement_of(origin) == requirement


@pytest.mark.parametrize(
    ("requirement", "alone"),
    [("gitdata", True), ("gitdata==0.1.0", True), ("GitData[s3]>=0.1", True), ("gitdata @ https://h/g.whl", False),
     ("gitdata[s3]@git+https://h/g.git", False), ("./gitdata-0.1.0-py3-none-any.whl", False),
     ("gitdata/gitdata-0.1.0-py3-none-any.whl", False), ("git+https://h/gitdata.git", False)],
)  # fmt: skip
def test_a_name_alone_is_told_from_a_place(requirement: str, alone: bool) -> None:
    assert is_name_alone(requirement) == alone
