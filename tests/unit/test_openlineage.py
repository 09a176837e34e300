"""OpenLineage events as data: names that give nothing away, ids that follow from ids, and what of a lineage is lost."""

from __future__ import annotations

import uuid

import pytest

from gitdata.commands.records import Record
from gitdata.report.openlineage import namespace_of, run_events, run_id


@pytest.mark.parametrize(
    ("url", "namespace"),
    [
        (None, "file:///work/a%20b"),
        ("/srv/data.git", "file:///srv/data.git"),
        ("../server.git", "file:///work/a%20b"),
        ("file:///srv/data.git", "file:///srv/data.git"),
        ("https://me:secret@example.org/team/data.git?token=s#x", "https://example.org/team/data.git"),
        ("ssh://git@example.org:22/team/data.git", "ssh://example.org:22/team/data.git"),
        ("git@example.org:team/data.git", "ssh://example.org/team/data.git"),
        ("example.org:/srv/data.git", "ssh://example.org/srv/data.git"),
    ],
)
def test_a_namespace_says_where_and_lets_nobody_in(url: str | None, namespace: str) -> None:
    assert namespace_of(url, "/work/a b") == namespace


def test_a_run_follows_from_the_version() -> None:
    assert uuid.UUID(run_id("ab" * 32)).version == 5
    assert run_id("ab" * 32) == run_id("ab" * 32) != run_id("cd" * 32)


def version(number: int, **fields: object) -> Record:
    extension = {
        "dataset": "d", "fields": None, "id": f"{number}" * 64, "label": f"1.{number}.0-{number}", "listing": "l",
        "parents": [], "rows": {"train": 5}, "size": 7,
    }  # fmt: skip
    plain = {
        "commit": "c" * 40,
        "declaration": "d",
        "declaration_text": None,
        "environment": None,
        "extensions": [extension],
        "method": "finetune",
        "model": "m",
        "number": number,
        "package": "p",
        "recorded": None,
        "restore": "r",
        "verdict": "accepted",
    }
    return Record("lineage", f"{number}" * 64, {**plain, **fields})


def test_what_nobody_has_any_more_is_left_out() -> None:
    lost = dict.fromkeys(("dataset", "fields", "label", "listing", "parents", "rows", "size"))
    first, second = run_events([version(2, extensions=[{**lost, "id": "e" * 64}]), version(1)], "https://x.org/a.git")
    assert [dataset["name"] for dataset in second["inputs"]] == ["datasets/eeeeeeee", "models/m/1-11111111"]
    assert "sourceCode" not in first["job"]["facets"]
    assert "processing_engine" not in first["run"]["facets"]
    assert "schema" not in first["inputs"][0]["facets"]
    place = first["job"]["facets"]["sourceCodeLocation"]
    assert place["url"] == f"https://x.org/a/blob/{'c' * 40}/models/m.toml"


@pytest.mark.parametrize(
    ("method", "read"),
    [
        ("finetune", ["datasets/d/1.2.0-2", "models/m/1-11111111"]),
        ("rehearse", ["datasets/d/1.1.0-1", "datasets/d/1.2.0-2", "models/m/1-11111111"]),
        ("union", ["datasets/d/1.1.0-1", "datasets/d/1.2.0-2"]),
    ],
)
def test_what_a_run_read_is_what_its_method_reads(method: str, read: list[str]) -> None:
    _, second = run_events([version(2, method=method), version(1, method="union")], "n")
    assert [dataset["name"] for dataset in second["inputs"]] == read
    assert second["run"]["facets"]["jobDependencies"]["upstream"][0]["run"]["runId"] == run_id("1" * 64)
