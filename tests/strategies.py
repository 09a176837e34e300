"""Hypothesis strategies for the nouns of the data room."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from gitdata.data.chain import Chain
from gitdata.data.ledger import Entry, Ledger, Verdict
from gitdata.data.pointer import (
    Attachment,
    Directory,
    Extension,
    File,
    ModelVersion,
    listing_digest,
    package_digest,
    row_counts,
)
from gitdata.data.schema import Field, Schema

hex64 = st.text("0123456789abcdef", min_size=64, max_size=64)
hex32 = st.text("0123456789abcdef", min_size=32, max_size=32)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
versions = st.builds("{}.{}.{}".format, *[st.integers(0, 99)] * 3)
counts = st.integers(0, 2**40)
texts = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\:"), min_size=1, max_size=12)
file_names = texts.filter(lambda name: name not in (".", ".."))

files = st.builds(
    File,
    split=st.sampled_from(["train", "validation", "test"]),
    path=file_names,
    sha256=hex64,
    size=counts,
    rows=counts,
    md5=hex32,
)
listings = st.lists(files, min_size=1, max_size=5, unique_by=lambda f: f.place).map(lambda fs: tuple(sorted(fs)))
attachments = st.lists(
    st.builds(Attachment, path=file_names, sha256=hex64, size=counts, md5=hex32),
    max_size=4,
    unique_by=lambda a: a.path,
).map(lambda found: tuple(sorted(found)))
directories = st.builds(Directory, md5=hex32, size=counts, nfiles=counts)
schemas = st.lists(
    st.builds(
        Field,
        name=texts,
        dtype=st.sampled_from(["float32", "int64", "text"]),
        shape=st.just(()),
        unit=st.none() | texts,
        description=st.none() | texts,
        categories=st.lists(texts, max_size=3, unique=True).map(tuple),
    ),
    max_size=4,
    unique_by=lambda f: f.name,
).map(lambda fields: Schema(tuple(sorted(fields, key=lambda f: f.name))))


sidecars = attachments.map(lambda found: tuple(replace(a, path=f"sidecar/{a.path}") for a in found))


@st.composite
def extensions(draw: st.DrawFn) -> Extension:
    listed = draw(listings)
    return Extension(
        dataset=draw(names),
        version=draw(versions),
        parents=tuple(sorted(draw(st.sets(hex64, max_size=3)))),
        test_policy=draw(st.sampled_from(["add", "replace", "drop"])),
        replaces=tuple(sorted(draw(st.sets(hex64, max_size=2)))),
        listing=listing_digest(listed),
        rows=row_counts(listed),
        files=draw(st.sampled_from([listed, None])),
        schema=draw(st.none() | schemas),
        sidecars=draw(sidecars),
        directory=draw(directories),
        inputs=tuple(draw(st.lists(texts, max_size=2))),
        outputs=tuple(draw(st.lists(texts, max_size=2))),
    )


@st.composite
def model_versions(draw: st.DrawFn) -> ModelVersion:
    parts = draw(attachments)
    return ModelVersion(
        model=draw(names),
        parent=draw(st.none() | hex64),
        added=tuple(sorted(draw(st.sets(hex64, max_size=3)))),
        restore=draw(hex64),
        declaration=draw(hex64),
        package=package_digest(parts),
        files=parts,
        directory=draw(directories),
        commit=draw(hex64) if draw(st.booleans()) else draw(hex64)[:40],
        method=draw(texts),
        training={"rungs": [{"steps": draw(counts)}]},
        metrics={"mae": draw(st.floats(allow_nan=False, allow_infinity=False))},
    )


def extension(
    name: str,
    *parents: Extension,
    dataset: str = "d",
    train: int = 10,
    test: int = 0,
    validation: int = 0,
    policy: str = "add",
    version: str = "1.0.0",
    replaces: tuple[str, ...] = (),
) -> Extension:
    """A small extension by name, for examples; another name is another content."""
    listed = tuple(
        sorted(
            File(split, f"{name}.csv", "0" * 64, 1, rows, "0" * 32)
            for split, rows in (("train", train), ("test", test), ("validation", validation))
            if rows
        )
    )
    return Extension(
        dataset=dataset,
        version=version,
        parents=tuple(sorted(p.id for p in parents)),
        test_policy=policy,  # type: ignore[arg-type]
        replaces=replaces,
        listing=listing_digest(listed),
        rows=row_counts(listed),
        files=listed,
        schema=None,
        sidecars=(),
        directory=Directory("0" * 32, 0, 1),
    )


def chain_of(*extensions: Extension, retracted: tuple[Extension, ...] = (), lost: tuple[Extension, ...] = ()) -> Chain:
    return Chain({e.id: e for e in extensions}, frozenset(e.id for e in retracted), frozenset(e.id for e in lost))


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    """A random DAG of up to eight extensions, some of them retracted."""
    made: list[Extension] = []
    for number in range(draw(st.integers(1, 8))):
        parents = draw(st.sets(st.sampled_from(made), max_size=3)) if made else set()
        rows = draw(st.sampled_from([{"train": 10}, {"train": 7, "test": 2}, {"train": 0, "test": 5}]))
        policy = draw(st.sampled_from(["add", "add", "replace", "drop"]))
        made.append(extension(f"e{number}", *parents, policy=policy, **rows))
    retracted = draw(st.sets(st.sampled_from(made), max_size=2))
    return chain_of(*made, retracted=tuple(retracted))


@st.composite
def generations(draw: st.DrawFn) -> Chain:
    """As `chains`, but an extension may take the place of some that were there before, as a base or not."""
    made: list[Extension] = []
    for number in range(draw(st.integers(2, 9))):
        parents = draw(st.sets(st.sampled_from(made), max_size=2)) if made else set()
        replaces = draw(st.sets(st.sampled_from(made), max_size=2)) if made and draw(st.booleans()) else set()
        replaced = tuple(sorted(e.id for e in replaces))
        made.append(extension(f"e{number}", *([] if replaces else parents), replaces=replaced))
    retracted = draw(st.sets(st.sampled_from(made), max_size=2))
    return chain_of(*made, retracted=tuple(retracted))


def model_version(
    number: int, added: set[str], parent: Entry | None = None, restore: str = "r", **verdict: object
) -> Entry:
    """A version of model `m` for examples, with a verdict."""
    version = ModelVersion(
        model="m",
        parent=parent.id if parent else None,
        added=tuple(sorted(added)),
        restore=restore,
        declaration="d",
        package=f"{number:064x}",
        files=(),
        directory=Directory("0" * 32, 0, 0),
        commit="0" * 40,
        method="union",
        training={},
        metrics={},
    )
    settings: dict[str, object] = {
        "outcome": "accepted",
        "reason": "",
        "who": "gitdata",
        "promoted": True,
        "tested": "t",
    }
    return Entry(number, version, Verdict(**(settings | verdict)))  # type: ignore[arg-type]


def ledger_of(*entries: Entry, champion: Entry | None = None) -> Ledger:
    return Ledger("m", {e.id: e for e in entries}, champion.id if champion else None)
