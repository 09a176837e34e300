"""What this clone keeps to be fast: records of pointers, packs of rows, and questions asked of many blobs at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from gitdata.data import compact, pointerfile
from gitdata.data.chain import Chain
from gitdata.data.compact import Records
from gitdata.data.pointer import Extension, blobs_of
from gitdata.storage import packs
from gitdata.storage.cache import Blob, Cache
from gitdata.storage.config import RemoteConfig
from gitdata.storage.packs import Packs
from gitdata.storage.remote import LISTED, Remote, _Cloud


@given(made=st.lists(strategies.extensions(), max_size=4, unique_by=lambda e: e.id))
def test_recalled_extensions_are_those_that_were_added(made: list[Extension]) -> None:
    records = Records()
    for extension in made:
        records.add(extension.id[:40], extension)
    content = compact.encode(records)
    for wanted in made:
        name = wanted.id[:40]
        found = compact.decode(content).get(name)
        assert found is not None
        assert blobs_of([found, wanted]) == [blobs_of([wanted])[0]] * 2
        assert found == wanted
        assert hash(compact.decode(content).get(name)) == hash(wanted)
        assert repr(compact.decode(content).get(name)) == repr(wanted)
        assert pointerfile.encode(found) == pointerfile.encode(wanted)
        renamed = replace(found, dataset="another")
        assert renamed.id == replace(wanted, dataset="another").id != found.id
        again = Records()
        again.add(name, found)
        assert again.get(name) == wanted
    assert compact.decode(content).get("0") is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"records":{"a":[]},"shared":[]}', b'{"records":[],"shared":1}']
)
def test_what_is_no_record_is_not_read_as_one(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        compact.decode(content)


@given(chain=strategies.chains())
def test_the_order_of_a_part_is_that_of_the_part_alone(chain: Chain) -> None:
    for extension in chain.extensions.values():
        closure = chain.closure([extension.id])
        alone = Chain({id: chain.extensions[id] for id in closure})
        assert chain.ordered(closure) == alone.ordered(closure)


# --- packs ---------------------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=()), max_size=4)


@st.composite
def columns(draw: st.DrawFn) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    rows = draw(st.integers(0, 4))
    made = {}
    for name in draw(st.lists(st.sampled_from(["b", "a", "ü", "0"]), min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from(["<f4", ">f8", "|b1", "<i8", "|u1", "<f2", "text", "matrix"]))
        if kind == "text":
            made[name] = np.empty(rows, object)
            made[name][:] = draw(st.lists(texts, min_size=rows, max_size=rows))
        elif kind == "matrix":
            made[name] = np.arange(rows * 6.0).reshape(rows, 2, 3)
        else:
            values = draw(st.lists(st.sampled_from([0, 1, 7]), min_size=rows, max_size=rows))
            made[name] = np.array(values).astype(kind)
    return made


@settings(max_examples=25)
@given(parts=st.lists(st.dictionaries(st.sampled_from("abcdefgh"), columns(), min_size=1, max_size=4), max_size=4))
def test_packs_give_back_what_they_were_given(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[dict[str, dict[str, np.ndarray]]],  # type: ignore[type-arg]
) -> None:
    store = Packs(tmp_path_factory.mktemp("packs"))
    given_first: dict[str, dict[str, np.ndarray]] = {}  # type: ignore[type-arg]
    for group in parts:
        group = {f"{number} {key}": part for number, (key, part) in enumerate(group.items(), len(given_first))}
        store.keep(group)
        given_first |= group
    found = store.recall(given_first)
    assert found.keys() == given_first.keys()
    for key, part in given_first.items():
        assert list(found[key]) == list(part)
        for name, column in part.items():
            assert (found[key][name].dtype, found[key][name].shape) == (column.dtype, column.shape)
            assert found[key][name].tobytes() == column.tobytes() or found[key][name].tolist() == column.tolist()


def part(value: float) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {"x": np.full(3, value)}


def test_there_are_few_packs_and_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Packs(tmp_path)
    for number in range(40):
        store.keep({f"{number}": part(number)})
    assert len(list(tmp_path.iterdir())) <= 6
    found = store.recall([f"{number}" for number in range(40)])
    assert [found[f"{number}"]["x"][0] for number in range(40)] == list(range(40))
    monkeypatch.setattr(packs, "ROOM", 1500)
    store.keep({"last": part(7)})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1500
    assert store.recall(["last"])


def test_full_packs_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MOST", 4000)
    store = Packs(tmp_path)
    wide = {f"wide {n}": {"x": np.full(100, n), "name": np.full(1, "n" * 200, object)} for n in range(12)}
    store.keep(wide)
    written = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    assert len(written) == 4  # of three parts of about 1 kB each
    for number in range(5):
        store.keep({f"more {number}": {"x": np.full(100, number), "name": np.full(1, "m", object)}})
    assert {path: path.stat().st_ino for path in written} == written
    assert len(store.recall([*wide, *(f"more {number}" for number in range(5))])) == 17


def test_a_pack_that_has_nothing_to_give_is_not_read(tmp_path: Path) -> None:
    store = Packs(tmp_path)
    store.keep({"other": {"y": np.zeros(3)}})
    (other,) = tmp_path.iterdir()
    other.write_bytes(other.read_bytes()[:-1])  # reading it would remove it
    store.keep({"a": part(1)})
    assert store.recall(["a", "missing"]).keys() == {"a"}
    assert other.exists()
    assert store.recall(["other"]) == {}
    assert not other.exists()


def test_the_newest_pack_stays_whatever_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "ROOM", 500)
    store = Packs(tmp_path)
    store.keep({"a": {"x": np.zeros(1000)}})
    store.keep({"b": {"y": np.zeros(1000)}})
    assert store.recall(["a", "b"]).keys() == {"b"}


def test_a_damaged_pack_is_removed_and_objects_are_never_unpickled(tmp_path: Path) -> None:
    import hashlib
    import io

    store = Packs(tmp_path)
    store.keep({"a": part(1)})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole[:90] + b"?" + whole[91:], b"x" + whole):
        path.write_bytes(content)
        assert store.recall(["a"]) == {}
        assert not path.exists()
    body = io.BytesIO()
    np.savez(body, **{"0": np.array([{"any": "object"}], object)})
    rest = json.dumps({"layout": [["x", "|O", []]], "rows": [["a", 1]]}).encode() + b"\n" + body.getvalue()
    path.write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    assert store.recall(["a"]) == {}
    store.keep({"b": {"x": np.array([b"bytes", 3.0], object)}, "c": {}})
    assert list(tmp_path.iterdir()) == []


# --- many blobs at once --------------------------------------------------------------------------------------


@given(sizes=st.dictionaries(st.integers(0, 600), st.sampled_from(["held", "short", "gone"]), max_size=30))
def test_asking_for_many_blobs_is_asking_for_each(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[int, str]
) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    blobs = [Blob(f"{number % 3:02x}{number:030x}", None if number % 5 == 0 else 2) for number in sizes]
    for blob, state in zip(blobs, sizes.values(), strict=True):
        if state != "gone":
            cache.path(blob).parent.mkdir(parents=True, exist_ok=True)
            cache.path(blob).write_bytes(b"12" if state == "held" else b"1")
    absent = cache.absent((blob.md5, blob.size) for blob in blobs)
    assert absent == {(blob.md5, blob.size) for blob in blobs if not cache.holds(blob)}


def test_a_remote_that_can_list_is_asked_once_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc_objects.fs.memory import MemoryFileSystem

    store = _Cloud.__new__(_Cloud)
    store.filesystem, store.ssh, store.root = MemoryFileSystem(), None, "/store"
    remote = Remote(RemoteConfig("m", "memory://store", {}), Path())
    monkeypatch.setitem(remote.__dict__, "_store", store)
    crowded = [Blob(f"ab{number:030x}", 1) for number in range(2 * LISTED)]
    sparse = [Blob(f"{number:02x}{number:030x}", 1) for number in range(4)]
    blobs = [*crowded, *sparse, Blob(f"ab{0:030x}", 99), Blob(f"ab{1:030x}.dir", None)]
    assert remote.missing(blobs) == blobs
    for blob in (*crowded[::2], *sparse[::2]):
        store.filesystem.fs.pipe_file(store.place(blob), b"1")
    asked: list[str] = []
    size = _Cloud.size
    monkeypatch.setattr(_Cloud, "size", lambda self, blob: (asked.append(blob.md5), size(self, blob))[1])
    assert remote.missing(blobs) == [blob for blob in blobs if blob not in (*crowded[::2], *sparse[::2])]
    assert sorted(asked) == [blob.md5 for blob in sparse]
    monkeypatch.setattr(MemoryFileSystem, "ls", _cannot_list)
    assert remote.missing(blobs) == [blob for blob in blobs if blob not in (*crowded[::2], *sparse[::2])]


def _cannot_list(*_: object, **__: object) -> None:
    """As file systems over HTTP answer."""
    raise NotImplementedError
