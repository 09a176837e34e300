"""What is wrong with a push: labels may change and nothing else; whatever the bytes are, there is a word for them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import chain_of, chains, extension, extensions, texts, versions

from gitdata.commands.finding import Finding
from gitdata.commands.received import ledger_rules, rules
from gitdata.data import pointerfile
from gitdata.data.chain import Chain
from gitdata.data.ledger import Verdict, encode_verdict
from gitdata.data.pointer import Directory, Extension, ModelVersion, package_digest
from gitdata.snapshot import Retraction, encode_retraction

ODD = [
    b"",
    b"\xff\xfe",
    b"{}",
    b"[" * 100_000,
    b'{"meta":' * 50_000,
    b'{\n  "meta": {\n    "gitdata": ' + b'{"a": ' * 900 + b"1" + b"}" * 900 + b"\n  }\n}\n",
    b'{"meta": {"gitdata": {"format": 1' + b"0" * 5000 + b"}}}",
    b"meta: &a [*a]\n",
    b"outs:\n- md5: x\n",
]


def path_of(made: Extension) -> str:
    return f"datasets/{made.dataset}/{made.stem}.dvc"


@settings(max_examples=40)
@given(extensions())
def test_what_gitdata_writes_is_sound(made: Extension) -> None:
    assert rules.read_strictly(path_of(made), pointerfile.encode(made)) == made


@settings(max_examples=50)
@given(extensions(), st.data())
def test_any_other_byte_is_told(made: Extension, data: st.DataObject) -> None:
    content = bytearray(pointerfile.encode(made))
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(content[place] != byte)
    content[place] = byte
    found = rules.read_strictly(path_of(made), bytes(content))
    if isinstance(found, Extension):  # no digest is over it: the size of a sidecar, say
        assert pointerfile.encode(found) == content
    else:
        assert isinstance(found, Finding)
        assert found.problem
        assert found.next_step


@given(st.binary(max_size=200) | st.sampled_from(ODD), st.sampled_from(["dvc", "json"]))
def test_no_bytes_are_without_an_answer(content: bytes, suffix: str) -> None:
    name = {"dvc": f"1.0.0-{'a' * 8}.dvc", "json": f"retracted/{'a' * 64}.json"}[suffix]
    found = rules.read_strictly(f"datasets/d/{name}", content)
    assert isinstance(found, Finding)
    files = {f"1-{'a' * 8}.dvc": content, f"1-{'a' * 8}.verdict": content}
    assert len([*ledger_rules.ledger_findings("m", {}, files)]) == 2


@pytest.mark.parametrize("name", ["x.dvc", "1.0.0-ABCDEF01.dvc", "1.0-aaaaaaaa.dvc", "--help.dvc", "a\nb.dvc"])
def test_a_pointer_has_the_name_of_one(name: str) -> None:
    for content in (pointerfile.encode(extension("e")), b"outs:\n- md5: of plain DVC\n"):
        found = rules.read_strictly(f"datasets/d/{name}", content)
        assert isinstance(found, Finding)
        assert "name" in found.problem


def test_a_pointer_lies_in_its_dataset_and_bears_its_id() -> None:
    made = extension("e")
    content = pointerfile.encode(made)
    for path in (
        f"datasets/other/{made.stem}.dvc",
        f"datasets/d/deep/{made.stem}.dvc",
        "datasets/d/1.0.0-00000000.dvc",
    ):
        assert isinstance(rules.read_strictly(path, content), Finding), path


def test_a_retraction_is_read() -> None:
    id = "a" * 64
    content = encode_retraction(Retraction("d", id, "bad"))
    assert rules.read_strictly(f"datasets/d/retracted/{id}.json", content) is None
    assert isinstance(rules.read_strictly(f"datasets/d/retracted/{'b' * 64}.json", content), Finding)
    assert rules.read_strictly("datasets/d/notes.json", b"anything") is None


@settings(max_examples=40)
@given(extensions(), versions, st.lists(texts, max_size=2), st.lists(texts, max_size=2))
def test_labels_may_change(made: Extension, version: str, inputs: list[str], outputs: list[str]) -> None:
    other = replace(made, version=version, inputs=tuple(inputs), outputs=tuple(outputs))
    assert rules.altered(path_of(other), other, [made], "abc") is None


@settings(max_examples=40)
@given(extensions(), extensions(), st.sampled_from(["rows", "files", "schema", "sidecars", "directory", "listing"]))
def test_nothing_else_may(made: Extension, another: Extension, name: str) -> None:
    other = replace(made, **{name: getattr(another, name)})
    assume(getattr(made, name) != getattr(another, name))
    found = rules.altered(path_of(other), other, [made], "abc")
    assert found is not None
    assert repr(name) in found.problem
    assert rules.altered(path_of(other), other, [made, other], "abc") is None  # one side of a merge said so
    assert rules.altered(path_of(other), other, [], "abc") is None


def test_a_link_is_told_where_it_would_be_followed() -> None:
    found = rules.links(
        {
            "datasets": "120000",
            "datasets/d": "160000",
            "datasets/d/1.0.0-aaaaaaaa.dvc": "120000",
            "datasets/d/README": "120000",
            "models/m.toml": "160000",
            "models/n.toml": "100644",
        }
    )
    assert [f.subject for f in found] == ["datasets", "datasets/d", "datasets/d/1.0.0-aaaaaaaa.dvc", "models/m.toml"]


@settings(max_examples=30)
@given(chains())
def test_a_double_is_new_where_no_base_had_it(after: Chain) -> None:
    assert [*rules.new_doubles("d", [after], after)] == []
    assert len([*rules.new_doubles("d", [], after)]) == len(after.double_versions)


def test_a_retracted_carrier_is_no_double() -> None:
    one, other = extension("a"), extension("b")
    assert len([*rules.new_doubles("d", [chain_of(one)], chain_of(one, other))]) == 1
    assert [*rules.new_doubles("d", [chain_of(one)], chain_of(one, other, retracted=(one,)))] == []
    before = [{"1.0.0": frozenset("a")}]
    assert rules.suspicious(before, {"1.0.0": frozenset("ab")}, anyway=False)
    assert not rules.suspicious(before, {"1.0.0": frozenset("a"), "1.1.0": frozenset("b")}, anyway=True)


# --- the ledger ----------------------------------------------------------------------------------------------


def version(digit: str, parent: ModelVersion | None = None) -> ModelVersion:
    return ModelVersion(
        "m", parent.id if parent else None, (digit * 64,), "a" * 64, "b" * 64, package_digest(()), (),
        Directory("c" * 32, 0, 0), "d" * 40, "union", {}, {},
    )  # fmt: skip


def files_of(*versions: ModelVersion, champion: int | None = None) -> dict[str, bytes]:
    found = {}
    stems = [f"{number}-{version.short}" for number, version in enumerate(versions, 1)]
    for number, (stem, made) in enumerate(zip(stems, versions, strict=True), 1):
        found[f"{stem}.dvc"] = pointerfile.encode_model(made, number)
        found[f"{stem}.verdict"] = encode_verdict(Verdict("accepted", "", "me"))
    if champion:
        found["champion"] = f"{stems[champion - 1]}\n".encode()
    return found


FIRST = version("1")
SECOND = version("2", FIRST)
BEFORE = files_of(FIRST, champion=1)
AFTER = files_of(FIRST, SECOND, champion=2)


def test_a_ledger_that_grows_is_sound() -> None:
    assert [*ledger_rules.ledger_findings("m", {}, BEFORE)] == []
    assert [*ledger_rules.ledger_findings("m", BEFORE, AFTER)] == []
    assert [*ledger_rules.new_versions("m", BEFORE, AFTER).values()] == [SECOND]
    rejected = encode_verdict(Verdict("rejected", "why", "me"))
    back = AFTER | {f"2-{SECOND.short}.verdict": rejected, "champion": BEFORE["champion"]}
    assert [*ledger_rules.ledger_findings("m", AFTER, back)] == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"champion": b"3-aaaaaaaa\n"}, "champion"),
        ({f"1-{FIRST.short}.dvc": None}, "deleted"),
        ({f"1-{FIRST.short}.dvc": pointerfile.encode_model(replace(FIRST, method="other"), 1)}, "changed"),
        ({f"1-{FIRST.short}.dvc": b"{}"}, "damaged"),
        ({f"1-{FIRST.short}.verdict": None}, "no verdict"),
        ({f"1-{FIRST.short}.verdict": b"{}"}, "no verdict file"),
        ({f"3-{FIRST.short}.dvc": pointerfile.encode_model(FIRST, 3)}, "no verdict"),
        ({f"1-{FIRST.short}.dvc": json.dumps(json.loads(BEFORE[f"1-{FIRST.short}.dvc"])).encode()}, "encoding"),
        ({f"2-{SECOND.short}.dvc": pointerfile.encode_model(replace(SECOND, metrics={"a": float(3)}), 2)}, ""),
    ],
)
def test_what_is_wrong_with_a_ledger_is_told(change: dict[str, bytes | None], word: str) -> None:
    after = {name: content for name, content in (AFTER | change).items() if content is not None}
    found = [*ledger_rules.ledger_findings("m", BEFORE, after)]
    assert len(found) == (1 if word else 0), found
    assert not word or word in found[0].problem
    assert [*ledger_rules.ledger_findings("m", after, after)] == []  # an old flaw holds nobody up


def test_numbers_that_are_none_are_no_model() -> None:
    text = pointerfile.encode_model(replace(FIRST, metrics={"mae": 1.5}), 1).replace(b"1.5", b"NaN")
    found = [*ledger_rules.ledger_findings("m", BEFORE, AFTER | {f"9-{FIRST.short}.dvc": text})]
    assert len(found) == 1
    assert "damaged" in found[0].problem
