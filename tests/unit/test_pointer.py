"""Pointers: one valid encoding, ids that no label touches, decoding that never crashes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strategies import extension, extensions, hex64, model_versions, versions

from gitdata.data.pointer import (
    Attachment,
    Extension,
    File,
    ModelVersion,
    extension_id,
    is_safe_path,
    listing_digest,
    row_counts,
)
from gitdata.data.pointerfile import (
    INLINE_BYTES,
    PointerError,
    decode,
    decode_model,
    encode,
    encode_model,
    files_from_json,
    files_to_json,
    fit_inline,
)


@given(extensions())
def test_decode_inverts_encode(made: Extension) -> None:
    assert decode(encode(made), made.stem) == made
    assert encode(decode(encode(made))) == encode(made)


@given(model_versions(), st.integers(1, 999))
def test_decode_model_inverts_encode(made: ModelVersion, number: int) -> None:
    assert decode_model(encode_model(made, number), f"{number}-{made.short}") == (made, number)


@given(extensions(), versions)
def test_no_label_touches_the_id(made: Extension, label: str) -> None:
    renamed = replace(made, version=label, inputs=("a",), outputs=("b",), schema=None, sidecars=())
    assert renamed.id == made.id


@given(extensions(), hex64)
def test_everything_that_identifies_changes_the_id(made: Extension, other: str) -> None:
    assume(other not in {made.listing, *made.parents, *made.replaces})
    changed = [
        replace(made, dataset=made.dataset + "x"),
        replace(made, parents=(*made.parents, other)),
        replace(made, replaces=(*made.replaces, other)),
        replace(made, listing=other),
        replace(made, test_policy={"add": "drop", "drop": "replace", "replace": "add"}[made.test_policy]),  # type: ignore[arg-type]
    ]
    assert len({made.id, *(c.id for c in changed)}) == 6


def test_the_id_is_what_the_specification_says() -> None:
    """A fixed example: this digest may never change."""
    listing = listing_digest([File("train", "a.csv", "1" * 64, 12, 3, "2" * 32)])
    assert listing == "f3986ccd3dd7d95cac9343477e5b11b400a54767b6fb899aa59ff0e510060743"
    assert (
        extension_id("d", ["b" * 64, "a" * 64], "add", [], listing)
        == "007ed6e3f215eea665a48e18ce77f504503f66fcadfe971a597fb8d37d67743e"
    )


@given(st.binary(max_size=400))
@example(b"")
@example(b"{" * 100_000)
@example(b'{"meta": {"gitdata": {"format": 1e999}}, "outs": []}')
@example(b"meta: &a [*a]\n")
@example(b"1" * 5000)
def test_decoding_never_crashes_on_bytes(content: bytes) -> None:
    for reader in (decode, decode_model):
        with pytest.raises(PointerError):
            reader(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(extensions(), st.data())
def test_decoding_never_crashes_on_a_changed_pointer(made: Extension, data: st.DataObject) -> None:
    """Any one value replaced by any other: an error, or a pointer that still encodes to what was read."""
    document = json.loads(encode(made))
    node, path = document, []
    while isinstance(node, dict | list) and node and (not path or data.draw(st.booleans())):
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        path.append((node, key))
        node = node[key]
    holder, key = path[-1]
    holder[key] = data.draw(json_values)
    content = json.dumps(document).encode(errors="replace")
    try:
        read = decode(content)
    except PointerError:
        return
    assert decode(encode(read)) == read


@given(model_versions(), st.data())
def test_decoding_never_crashes_on_a_changed_model_pointer(made: ModelVersion, data: st.DataObject) -> None:
    document = json.loads(encode_model(made, 1))
    record = document["meta"]["gitdata"]
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(json_values)
    try:
        decode_model(json.dumps(document).encode())
    except PointerError:
        return


@given(extensions(), st.integers(0, 3000))
def test_a_truncated_pointer_is_no_pointer(made: Extension, length: int) -> None:
    content = encode(made)
    with pytest.raises(PointerError):
        decode(content[: min(length, len(content) - 2)])


def edited(change: str) -> bytes:
    made = extension("a", extension("base"), test=2)
    document = json.loads(encode(made))
    record = document["meta"]["gitdata"]
    match change:
        case "version":
            record["version"] = "9.9.9"
        case "parents":
            record["parents"] = []
        case "unknown field":
            record["colour"] = "red"
        case "newer format":
            record["format"] = 2
        case "dot dot":
            record["listing"]["files"][0]["path"] = "../../etc/passwd"
        case "absolute":
            record["listing"]["files"][0]["path"] = "/etc/passwd"
        case "rows":
            record["listing"]["files"][0]["rows"] = 10**6
        case "outs path":
            document["outs"][0]["path"] = "../elsewhere"
        case "two outs":
            document["outs"] *= 2
        case "other hash":
            document["outs"][0]["hash"] = "etag"
        case "sidecar path":
            record["sidecars"] = [{"path": "a/../b", "md5": "0" * 32, "sha256": "0" * 64, "size": 0}]
        case "deps":
            document["deps"] = []
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("version", "gives '9.9.9-"),
        ("parents", "its id is"),
        ("unknown field", "unknown field 'colour'"),
        ("newer format", "update it"),
        ("dot dot", "leaves its folder"),
        ("absolute", "leaves its folder"),
        ("rows", "does not agree"),
        ("outs path", "has the path"),
        ("two outs", "exactly one directory"),
        ("other hash", "not md5"),
        ("sidecar path", "leaves its folder"),
        ("deps", "unknown field 'deps'"),
    ],
)
def test_a_hand_edited_pointer_is_refused_with_the_reason(change: str, says: str) -> None:
    with pytest.raises(PointerError, match=says):
        decode(edited(change))


def test_the_name_of_the_file_must_agree() -> None:
    made = extension("a")
    with pytest.raises(PointerError, match="file name"):
        decode(encode(made), "1.0.0-00000000")


def test_a_key_that_stands_twice_is_refused() -> None:
    content = encode(extension("a")).replace(b'"version": "1.0.0"', b'"version": "1.0.0", "version": "1.0.1"')
    with pytest.raises(PointerError, match="twice"):
        decode(content)


def test_a_pointer_that_dvc_rewrote_as_yaml_is_read() -> None:
    from io import BytesIO

    from ruamel.yaml import YAML

    made = extension("a", extension("base"))
    stream = BytesIO()
    YAML(typ="safe", pure=True).dump(json.loads(encode(made)), stream)
    assert decode(stream.getvalue(), made.stem) == made


def many(count: int) -> Extension:
    listed = tuple(File("train", f"{n:05}.csv", f"{n:064x}", 1, 1, f"{n:032x}") for n in range(count))
    return replace(extension("a"), files=listed, listing=listing_digest(listed), rows=row_counts(listed))


@pytest.mark.parametrize("count", [1, 5, 32, 33, 20_000])
def test_a_pointer_stays_small(count: int) -> None:
    slim = fit_inline(many(count))
    assert len(encode(slim)) <= INLINE_BYTES
    assert slim.id == many(count).id
    assert decode(encode(slim)) == slim
    assert (slim.files is None) == (len(encode(many(count))) > INLINE_BYTES)


def test_a_listing_survives_its_sidecar() -> None:
    listed = many(40).files
    assert listed is not None
    assert files_from_json(files_to_json(listed)) == listed


@pytest.mark.parametrize("path", ["", ".", "..", "a/../b", "/a", "a//b", "a/", "a\\b", "C:x", "a\nb", "a\0b"])
def test_unsafe_paths(path: str) -> None:
    assert not is_safe_path(path)


def test_safe_paths() -> None:
    assert all(is_safe_path(path) for path in ("a", "a.csv", "ü b/c.h5", "...", ".hidden", "-x"))


def test_attachments_sort_by_path() -> None:
    assert sorted([Attachment("b", "", 0, ""), Attachment("a", "", 0, "")])[0].path == "a"
