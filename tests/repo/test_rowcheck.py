"""`verify --rows`: sidecars that say of rows what they are not are found out, and made anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from world import Clone, World

from gitdata.commands import extend
from gitdata.commands.intake import Request
from gitdata.commands.known import ROW_FACTS, Facts, Source, live_digest
from gitdata.commands.records import Record
from gitdata.commands.storing import attach, name_directory
from gitdata.commands.verify import Options, verify
from gitdata.data.pointer import ROLE_INDEX, ROW_INDEX, SIDECAR, Extension
from gitdata.storage.cache import hash_file

Write = Callable[[str, "str | bytes"], Path]


def take(clone: Clone, path: Path, dataset: str = "d", **more: object) -> Record:
    command = extend.extend if (clone.path / "datasets" / dataset).exists() else extend.add
    return command(clone.repo, Request(dataset, [path], **more))  # type: ignore[arg-type]


def extension_of(clone: Clone, record: Record) -> Extension:
    return clone.repo.work_tree_snapshot().chains[record["dataset"]].extensions[record.id]


def sidecar(clone: Clone, record: Record, name: str) -> bytes:
    return clone.repo.cache.read(clone.repo.sidecar(extension_of(clone, record), name))


def table(*rows: tuple[int, int, int]) -> str:
    return "\n".join(["a,n,y", *(",".join(map(str, row)) for row in rows)]) + "\n"


def forge(clone: Clone, record: Record, name: str, content: bytes) -> None:
    """Let a pointer name another sidecar, as whoever may push can."""
    extension = extension_of(clone, record)
    forged = attach(clone.repo, name, content)
    others = [a for a in extension.sidecars if a.path != f"{SIDECAR}/{name}"]
    name_directory(clone.repo, replace(extension, sidecars=tuple(sorted([*others, forged]))))


def other_bits(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def other_content(content: bytes) -> bytes:
    facts = Facts.decode(content)
    return replace(facts, contents=("0" * 64, *facts.contents[1:])).encode()


def train_rows_apart(content: bytes) -> bytes:
    return replace(Facts.decode(content), apart=("train/a.csv",)).encode()


FORGED = [
    (ROW_INDEX, other_bits),
    (ROLE_INDEX, other_bits),
    (ROW_FACTS, other_content),
    (ROW_FACTS, train_rows_apart),
    (ROW_FACTS, lambda content: b"{}"),
    (ROW_FACTS, lambda content: json.dumps(json.loads(content) | {"roles": ["nowhere"]}).encode()),
]


@pytest.mark.parametrize(("name", "change"), FORGED)
def test_a_forged_sidecar_is_found_and_made_anew(
    clone: Clone, write: Write, name: str, change: Callable[[bytes], bytes]
) -> None:
    roles = {"inputs": ("a",), "outputs": ("y",)}
    test = write("t.csv", table((7, 8, 9)))
    first = take(clone, write("a.csv", table((1, 2, 3), (4, 5, 6))), test=str(test), **roles)
    second = take(clone, write("b.csv", table((2, 3, 4))), **roles)
    assert [r.kind for r in verify(clone.repo, Options(rows=True, deep=True))] == ["verified"]
    true = {kind: sidecar(clone, first, kind) for kind in (ROW_INDEX, ROLE_INDEX, ROW_FACTS)}
    forge(clone, first, name, change(true[name]))
    assert [r.kind for r in verify(clone.repo, Options(deep=True))] == ["verified"]
    finding, seen = verify(clone.repo, Options(rows=True))
    assert (finding["part"], finding.id, seen["rows_read"]) == ("rows", "d@1.0.0", 2)
    assert name in finding["problem"]
    finding, _ = verify(clone.repo, Options(rows=True, repair=True))
    assert finding["repaired"]
    assert [r.kind for r in verify(clone.repo, Options(rows=True, deep=True))] == ["verified"]
    made = {kind: sidecar(clone, first, kind) for kind in true}
    assert (made[ROW_INDEX], made[ROLE_INDEX]) == (true[ROW_INDEX], true[ROLE_INDEX])
    assert Facts.decode(made[ROW_FACTS]).contents == Facts.decode(true[ROW_FACTS]).contents
    assert extension_of(clone, second).parents == (first.id,)


def test_the_command_says_what_to_do(clone: Clone, write: Write) -> None:
    first = take(clone, write("a.csv", table((1, 2, 3))))
    forge(clone, first, ROW_INDEX, bytes(8))
    assert "`gitdata verify --rows --repair`" in clone.gitdata("verify", "--rows", code=1).out
    assert "rows of 1 extension read" in clone.gitdata("verify", "--rows", "--repair").out


def test_rows_of_folders_and_of_formats_side_by_side_agree(clone: Clone, tmp_path: Path) -> None:
    for label in ("left", "right"):
        place = tmp_path / "f" / label / "a.csv"
        place.parent.mkdir(parents=True)
        place.write_text(f"a,t\n1.5,{label}\n2,ü\n")
    take(clone, tmp_path / "f")
    (tmp_path / "note.bin").write_bytes(b"\0\1")
    take(clone, tmp_path / "note.bin", dataset="opaque")
    assert [r.kind for r in verify(clone.repo, Options(rows=True))] == ["verified"]


def test_a_source_of_another_number_of_rows_is_not_believed(clone: Clone, write: Write) -> None:
    """It would call rows known that the dataset does not hold."""
    first = take(clone, write("a.csv", table((1, 2, 3))))
    whole = write("a.csv", table((1, 2, 3), (4, 5, 6)))
    blob = hash_file(whole)
    assert blob.sha256 is not None
    assert blob.size is not None
    facts = Facts.decode(sidecar(clone, first, ROW_FACTS))
    forged = replace(facts, source=Source(blob.sha256, blob.size, 2, live_digest(())))
    forge(clone, first, ROW_FACTS, forged.encode())
    grown = take(clone, whole, grown="refuse")
    assert (grown.kind, grown["rows"]) == ("extension", {"train": 1})


def test_whose_blob_is_nowhere_is_said(world: World, write: Write) -> None:
    clone = world.clone
    first = take(clone, write("a.csv", table((1, 2, 3))))
    clone.commit("a")
    clone.push()
    other = world.another_clone()
    index = clone.repo.sidecar(extension_of(clone, first), ROW_INDEX)
    clone.repo.cache.remove(index)
    (world.server.store / "files" / "md5" / index.md5[:2] / index.md5[2:]).unlink()
    for place, command in (
        (clone, ("extend", "d", write("b.csv", table((1, 2, 3), (4, 5, 6))), "--grown")),
        (other, ("fetch", "d")),
    ):
        assert (
            f"d@1.0.0 ({first.id[:8]}) is not here in full. The blob {index.md5}" in place.gitdata(*command, code=4).err
        )


def test_a_reason_of_several_lines_is_told_in_one(clone: Clone, write: Write) -> None:
    take(clone, write("a.csv", table((1, 2, 3))))
    assert ": wrong units, by Ada" in clone.gitdata("retract", "d@1.0.0", "--reason", "wrong units,\n\n  by Ada").out
