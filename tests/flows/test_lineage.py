"""Where versions come from: lineage, OpenLineage events, and versions that are made again.

Events are held against the classes of openlineage-python where it is installed: `pip install openlineage-python`.
"""

from __future__ import annotations

import re
import shutil
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from world import Clone, World, fingerprint

from gitdata import durable
from gitdata.automation import hooks
from gitdata.repo import LEDGER_REF

PARTS = ("--test", "0.15", "--validation", "0.15")


def alone(world: World) -> Clone:
    """A clone that is trained in by hand."""
    hooks.uninstall(world.server.repo)
    return world.clone


def extend(world: World, clone: Clone, name: str, first: int, last: int) -> None:
    clone.gitdata("extend", "lattice", world.lattice(name, first, last), *PARTS, "-m", name)
    clone.push()


def train(clone: Clone, method: str) -> None:
    """A version by a method, whatever the gate says of it."""
    done = clone.gitdata("train", "lattice", "--method", method, "--json").records[-1]
    assert done["method"] == method


def begun(world: World) -> Clone:
    clone = alone(world)
    small = {'{ dense = 96 }, "relu", { dense = 64 }, "relu", { dense = 64 }': "{ dense = 32 }"}
    clone.declare(**{'method = ["finetune", "rehearse", "union"]\n': 'method = "auto"\n'}, **small)
    clone.gitdata("add", "lattice", world.lattice("base", 0, 20), *PARTS, "-m", "base")
    clone.commit("a model")
    clone.push()
    clone.gitdata("train", "lattice")
    return clone


@pytest.fixture(scope="module")
def first(first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = first_world.copy(tmp_path_factory.mktemp("recorded"))
    clone = begun(world)
    for place, method in enumerate(("distil", "rehearse")):
        extend(world, clone, method, 20 + 4 * place, 24 + 4 * place)
        train(clone, method)
    return world


@pytest.fixture
def recorded(first: World, tmp_path: Path) -> World:
    """Versions by union, distil and rehearse, each gone on from the one before."""
    return first.copy(tmp_path)


def reproduced(clone: Clone, reference: str, code: int = 0) -> dict[str, Any]:
    (record,) = clone.gitdata("reproduce", reference, "--json", code=code).records
    return record


def forge(clone: Clone, number: int, old: str, new: str) -> None:
    """Put other words into the pointer of a version, on the ledger that all read."""
    repo = clone.repo
    tip, entry = repo.fetch_ledger(), repo.ledger("lattice", repo.ledger_commit()).numbered(number)
    assert entry
    path = f"models/lattice/{entry.stem}.dvc"
    content = repo.git.files(str(tip), path)[path].decode()
    assert old in content
    commit = repo.git.commit_files(tip, {path: content.replace(old, new).encode()}, "forged")
    assert repo.git.push_commit("origin", commit, LEDGER_REF, tip)


def commit_of(clone: Clone, number: int) -> str:
    entry = clone.repo.ledger("lattice", clone.repo.ledger_commit()).numbered(number)
    assert entry
    return entry.version.commit


def test_versions_are_made_again_bit_for_bit_and_nothing_is_recorded(recorded: World) -> None:
    clone = recorded.clone
    before = clone.git("for-each-ref"), fingerprint(recorded.server.path), fingerprint(clone.path / ".dvc" / "cache")
    found = [reproduced(clone, f"lattice@{number}") for number in (1, 2, 3)]
    assert [(r["method"], r["parent"], r["outcome"]) for r in found] == [
        ("union", None, "equal"),
        ("distil", 1, "equal"),
        ("rehearse", 2, "equal"),
    ]
    for record in found:
        assert (record["parts"], record["weights"], record["answers"], record["contradictions"]) == ([], 0, 0, [])
        assert record["is_reproduced"]
        assert record["environment"]["differs"] == []
    after = clone.git("for-each-ref"), fingerprint(recorded.server.path), fingerprint(clone.path / ".dvc" / "cache")
    assert before == after


def test_a_pointer_that_names_a_commit_with_another_seed_is_found(recorded: World) -> None:
    clone = recorded.clone
    model = clone.path / "models" / "lattice.toml"
    model.write_text(model.read_text().replace("seed = 0", "seed = 1"))
    other = clone.commit("another seed")
    forge(clone, 3, commit_of(clone, 3), other)
    record = reproduced(clone, "lattice@3", code=1)
    assert (record["outcome"], record["is_reproduced"]) == ("different", False)
    assert "another declaration is recorded" in record["contradictions"][0]
    assert record["environment"]["differs"] == []


def test_forged_words_of_a_pointer_are_found_where_the_weights_are_the_same(recorded: World) -> None:
    clone = recorded.clone
    entry = clone.repo.ledger("lattice", clone.repo.ledger_commit()).numbered(2)
    assert entry
    overall = entry.version.metrics["overall"]["mae"]
    forge(clone, 2, f'"mae": {overall}', f'"mae": {overall / 2:.6g}')
    forge(clone, 2, '"method": "distil",\n      "metrics"', '"method": "union",\n      "metrics"')
    forge(clone, 2, '"devices"', '"\\u001b[2J"')
    record = reproduced(clone, "lattice@2", code=1)
    assert (record["outcome"], record["is_reproduced"]) == ("equal", False)
    assert record["environment"]["differs"] == ["\x1b[2J"]
    said = clone.gitdata("reproduce", "lattice@2", code=1).out
    assert "equal, bit for bit" in said
    assert "[2J: 1 × cpu then, none now" in said
    assert "\x1b" not in said
    assert ["the pointer says union" in record["contradictions"][0], "mae was" in record["contradictions"][1]] == [
        True
    ] * 2


def test_what_is_gone_is_named(recorded: World) -> None:
    clone, server = recorded.clone, recorded.server
    stores = [clone.path / ".dvc" / "cache", server.store]
    ledger = clone.repo.ledger("lattice", clone.repo.ledger_commit())
    parent, rows = ledger.numbered(2), next(iter(clone.repo.snapshot().chain("lattice").extensions.values()))
    assert parent

    def without(md5: str, place: str = "") -> str:
        kept = recorded.root / "kept"
        paths = [path for store in stores for path in store.rglob(f"{md5[:2]}/{md5[2:]}")]
        assert paths
        for number, path in enumerate(paths):
            durable.write(kept / str(number), path.read_bytes())
            path.unlink()
        said = clone.gitdata("reproduce", "lattice@3", code=4).err
        for number, path in enumerate(paths):
            shutil.move(kept / str(number), path)
        return said

    weights = next(file for file in parent.version.files if file.path == "weights.safetensors")
    assert "The package of lattice@2 cannot be had" in without(weights.md5)
    train_rows = next(file for file in clone.repo.files_of(rows) if file.split == "train")
    assert "is not here in full" in without(train_rows.md5)

    at = commit_of(clone, 3)
    forge(clone, 3, at, "0123456789" * 4)
    assert "is not in this clone" in clone.gitdata("reproduce", "lattice@3", code=4).err
    undeclared = clone.git("rev-list", "--max-parents=0", "HEAD")
    forge(clone, 3, "0123456789" * 4, undeclared)
    assert "does not declare it" in clone.gitdata("reproduce", "lattice@3", code=4).err
    forge(clone, 3, undeclared, commit_of(clone, 2))
    assert "what lattice@3 saw is not what is live" in clone.gitdata("reproduce", "lattice@3", code=4).err
    assert "no version '9'" in clone.gitdata("reproduce", "lattice@9", code=2).err


def test_a_lineage_leads_to_rows_declaration_environment_and_back(recorded: World) -> None:
    clone = recorded.clone
    youngest, middle, oldest = clone.gitdata("lineage", "lattice@3", "--json").records
    snapshot = clone.repo.snapshot()
    chain = snapshot.chain("lattice")
    for record in (youngest, middle, oldest):
        (own,) = record["extensions"]
        extension = chain.extensions[own["id"]]
        assert (own["listing"], own["rows"]) == (extension.listing, dict(extension.rows))
        assert [f"lattice@{own['label']}"] == record["added"]
        assert record["declaration_text"] == snapshot.declaration("lattice")
        assert record["environment"]["jax"] == record["manifest"]["made_by"]["jax"]
        assert record["environment"]["processors"]
        assert [field["name"] for field in record["preprocessing"]["outputs"]] == ["W_max", "P_peak"]
        assert (
            clone.git("show", "--no-patch", "--format=%cI", record["recorded"]["commit"]) == record["recorded"]["time"]
        )
        saw = clone.gitdata("lineage", "lattice", "--of", f"lattice@{own['id'][:8]}", "--json").records
        assert record["number"] in [back["number"] for back in saw if back["added"]]
    assert (youngest["parent_id"], middle["parent_id"], oldest["parent_id"]) == (middle["id"], oldest["id"], None)
    assert "computed by gitdata" in clone.gitdata("lineage", "lattice@3").out

    bare = recorded.another_clone()  # brings what the packages tell, and nothing else of them
    assert bare.gitdata("lineage", "lattice@3", "--json").records == [youngest, middle, oldest]
    assert not list((bare.path / ".dvc" / "cache").rglob("weights*"))
    for path in [*recorded.server.store.rglob("*"), *(bare.path / ".dvc" / "cache").rglob("*")]:
        if path.is_file():
            path.unlink()
    lost = bare.gitdata("lineage", "lattice@3", "--json", env={"GITDATA_PROGRESS": "1"})
    assert "What the packages tell is not here in full" in lost.err
    assert (lost.records[0]["manifest"], lost.records[0]["preprocessing"]) == (None, None)
    assert lost.records[0]["environment"].keys() < youngest["environment"].keys()


def events_of(clone: Clone, *more: str) -> list[dict[str, Any]]:
    return clone.gitdata("lineage", "lattice@3", "--openlineage", *more).records


def test_a_lineage_as_openlineage_events(recorded: World) -> None:
    clone = recorded.clone
    first, second, third = events_of(clone)
    ids = [record["id"] for record in reversed(clone.gitdata("lineage", "lattice@3", "--json").records)]
    extensions = [f"datasets/lattice/{e.stem}" for e in clone.repo.snapshot().chain("lattice").extensions.values()]
    versions = [f"models/lattice/{number}-{id[:8]}" for number, id in enumerate(ids, 1)]
    read = [sorted(each["name"] for each in event["inputs"]) for event in (first, second, third)]
    base, more, most = sorted(extensions)
    assert read == [[base], [more, versions[0]], [base, more, most, versions[1]]], "rehearse reads what was seen"
    for event, id, name in zip((first, second, third), ids, versions, strict=True):
        (made,) = event["outputs"]
        assert (made["name"], made["facets"]["version"]["datasetVersion"]) == (name, id)
        assert event["job"]["facets"]["sourceCode"]["sourceCode"] == clone.repo.snapshot().declaration("lattice")
        assert event["job"]["facets"]["sourceCodeLocation"]["version"]
        assert event["run"]["facets"]["processing_engine"]["name"] == "jax"
        assert {dataset["namespace"] for dataset in event["inputs"]} == {f"file://{recorded.server.path}"}
    upstream = third["run"]["facets"]["jobDependencies"]["upstream"][0]["run"]["runId"]
    assert upstream == second["run"]["runId"]
    assert events_of(clone) == [first, second, third], "it follows from the ledger alone"
    assert events_of(clone, "--namespace", "lab")[0]["job"]["namespace"] == "lab"
    assert "do not go together" in clone.gitdata("lineage", "lattice", "--openlineage", "--of", "x", code=2).err


@pytest.mark.slow
def test_events_are_those_of_the_classes_of_openlineage(recorded: World) -> None:
    reason = "openlineage-python is not installed: pip install openlineage-python"
    events: Any = pytest.importorskip("openlineage.client.event_v2", reason=reason)
    serde: Any = pytest.importorskip("openlineage.client.serde")
    for event in events_of(recorded.clone):
        made = serde.Serde.to_dict(made_of(events.RunEvent, event))
        assert unversioned(made) == unversioned(event)


def made_of(kind: Any, value: dict[str, Any]) -> Any:
    """An object of a class of openlineage-python. Fails where a field of `value` is none of its fields."""
    attr: Any = pytest.importorskip("attr")
    fields, hints = {field.name: field for field in attr.fields(kind)}, get_type_hints(kind)
    assert value.keys() <= fields.keys()
    return kind(**{fields[name].alias: as_hinted(hints[name], own) for name, own in value.items() if fields[name].init})


def as_hinted(hint: Any, value: Any) -> Any:
    inner = next((kind for kind in get_args(hint) if kind is not type(None)), None)
    if get_origin(hint) is list:
        return [as_hinted(inner, own) for own in value]
    if get_origin(hint) is dict:
        return {name: made_of(facet_named(own["_schemaURL"]), own) for name, own in value.items()}
    if inner is not None:
        return as_hinted(inner, value)
    if isinstance(value, dict):
        return made_of(hint, value)
    return hint(value) if issubclass(hint, Enum) else value


def facet_named(url: str) -> Any:
    facets: Any = pytest.importorskip("openlineage.client.facet_v2")
    name = url.rpartition("/")[2]
    return next(getattr(module, name) for module in vars(facets).values() if hasattr(module, name))


def unversioned(value: Any) -> Any:
    """An event without what is empty, and whatever version of a schema is named."""
    if isinstance(value, dict):
        return {name: unversioned(own) for name, own in value.items() if own not in ({}, [], None)}
    if isinstance(value, list):
        return [unversioned(own) for own in value]
    return re.sub(r"/\d+-\d+-\d+/", "/", value) if isinstance(value, str) else value


@pytest.mark.slow
def test_versions_kept_from_scratch_streamed_and_of_old_records_are_made_again(recorded: World) -> None:
    clone = recorded.clone
    for place, method in enumerate(("keep", "scratch")):
        extend(recorded, clone, method, 28 + 4 * place, 32 + 4 * place)
        train(clone, method)
    kept, fresh = reproduced(clone, "lattice@4"), reproduced(clone, "lattice@5")
    assert (kept["outcome"], kept["method"], kept["steps"]) == ("equal", "keep", 0)
    assert (fresh["outcome"], fresh["method"], fresh["parent"]) == ("equal", "scratch", None)

    extend(recorded, clone, "streamed", 36, 40)
    clone.git("config", "gitdata.trainMemory", "1k")
    train(clone, "rehearse")
    assert reproduced(clone, "lattice@6")["outcome"] == "equal"
    clone.git("config", "--unset", "gitdata.trainMemory")
    record = reproduced(clone, "lattice@6", code=1)
    assert (record["outcome"], record["environment"]["differs"]) == ("different", ["rows"])

    forge(clone, 3, '"bounded": false,', "")
    forge(clone, 3, '"processors"', '"once"')
    assert reproduced(clone, "lattice@3")["outcome"] == "equal"


@pytest.mark.slow
def test_borrowed_layers_other_data_and_no_validation_rows(world: World) -> None:
    clone = alone(world)
    clone.gitdata("add", "peaks", world.lattice("peaks", 0, 6), "--test", "0.2", "-m", "peaks")
    clone.gitdata("add", "lattice", world.lattice("base", 6, 12), "--test", "0.2", "-m", "base")
    clone.declare("peak", **{'dataset = "lattice"': 'dataset = "peaks"'})
    clone.declare("lattice", **{"layers = [": 'layers = [{ model = "peak@1", freeze = true }, "relu",'})
    clone.commit("models")
    clone.git("push", "origin", "HEAD")
    clone.gitdata("train", "peak")
    clone.gitdata("train", "lattice")
    extend(world, clone, "more", 12, 15)
    train(clone, "distil")
    clone.gitdata("train", "peak", "--data", "lattice@1.0.0", "--force")
    for version in ("lattice@2", "peak@2"):
        assert reproduced(clone, version)["outcome"] == "equal", version


@pytest.mark.slow
def test_a_version_that_learned_a_new_class(world: World, shared_data: Path, tmp_path: Path) -> None:
    clone = alone(world)
    with np.load(shared_data / "mnist10k" / "mnist10k.npz") as found:
        images, digits = found["x"].reshape(-1, 28, 28)[::7, ::4, ::4], found["y"].astype(np.int64)[::7]
    for name, classes in (("base", (3, 4, 5)), ("more", (5, 9))):
        chosen = np.isin(digits, classes)
        np.savez(tmp_path / f"{name}.npz", image=images[chosen], digit=digits[chosen])
    clone.declare("digits", DIGITS)
    roles = ("--inputs", "image", "--outputs", "digit")
    clone.gitdata("add", "digits", tmp_path / "base.npz", *PARTS, *roles, "-m", "base")
    clone.commit("a model")
    clone.push()
    clone.gitdata("train", "digits")
    clone.gitdata("extend", "digits", tmp_path / "more.npz", *PARTS, "-m", "nines")
    clone.push()
    assert clone.gitdata("train", "digits", "--json").records[-1]["method"] == "rehearse"
    assert reproduced(clone, "digits@2")["outcome"] == "equal"


DIGITS = """\
[data]
dataset = "digits"
inputs = ["image"]
outputs = ["digit"]

[network]
layers = ["flatten", { dense = 32 }, "relu", { dense = "outputs" }]

[training]
epochs = 5
batch_size = 32
loss = "cross_entropy"

[retraining]
method = "rehearse"

[deployment]
undecided = "accept"
"""
