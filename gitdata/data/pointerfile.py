"""Pointer files: the one valid encoding of extensions and model versions, and reading it back.

A pointer is a valid `.dvc` file in JSON syntax with one directory in `outs`; what is gitdata's own lies under
`meta.gitdata`. Pure: bytes in, frozen objects out, and back; reading raises PointerError and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gitdata.canonical import readable_json
from gitdata.data import checked
from gitdata.data.checked import PointerError
from gitdata.data.pointer import (
    COMMIT,
    FORMAT,
    ID,
    MD5,
    NAME,
    NUMBER,
    POLICIES,
    SHORT,
    SIDECAR,
    VERSION,
    Attachment,
    Directory,
    Extension,
    File,
    ModelVersion,
    identity,
    listing_digest,
    package_digest,
    row_counts,
    split_stem,
)
from gitdata.data.schema import Schema

MAXIMUM_BYTES = 4 * 1024 * 1024  # a model pointer lists ids, 68 bytes each; anything larger is not a pointer
INLINE_BYTES = 4 * 1024
INLINE_FILES = 32


# --- writing -------------------------------------------------------------------------------------------------


def encode(extension: Extension) -> bytes:
    """The one valid encoding of an extension's pointer."""
    return readable_json({"meta": {"gitdata": extension_record(extension)}, "outs": [_out(extension)]})


def extension_record(extension: Extension) -> dict[str, Any]:
    """What a pointer says of an extension, as JSON."""
    listing: dict[str, Any] = {"digest": extension.listing, "rows": dict(extension.rows)}
    if extension.files is not None:
        listing["files"] = files_to_json(extension.files)
    record: dict[str, Any] = {
        "dataset": extension.dataset,
        "format": FORMAT,
        "id": extension.id,
        "kind": "extension",
        "listing": listing,
        "parents": sorted(extension.parents),
        "replaces": sorted(extension.replaces),
        "sidecars": [_attachment_to_json(a) for a in sorted(extension.sidecars)],
        "split_policy": {"test": extension.test_policy},
        "version": extension.version,
    }
    if extension.schema is not None:
        record["schema"] = extension.schema.to_json()
    if extension.inputs:
        record["inputs"] = list(extension.inputs)
    if extension.outputs:
        record["outputs"] = list(extension.outputs)
    return record


def encode_model(version: ModelVersion, number: int) -> bytes:
    """The pointer of version `number` of a model; its package lies on the DVC remote `gitdata-models`."""
    record = {
        "added": sorted(version.added),
        "commit": version.commit,
        "declaration": version.declaration,
        "format": FORMAT,
        "id": version.id,
        "kind": "model",
        "method": version.method,
        "metrics": dict(version.metrics),
        "model": version.model,
        "package": {"digest": version.package, "files": [_attachment_to_json(f) for f in version.files]},
        "parent": version.parent,
        "restore": version.restore,
        "training": dict(version.training),
    }
    out = _out_of(version.directory, f"{number}-{version.short}") | {"remote": "gitdata-models"}
    return readable_json({"meta": {"gitdata": record}, "outs": [out]})


def files_to_json(files: Iterable[File]) -> list[dict[str, Any]]:
    """A listing as JSON: what its digest is computed from, and DVC's name of each blob."""
    return [identity(file) | {"md5": file.md5} for file in sorted(files)]


def fit_inline(extension: Extension) -> Extension:
    """`extension` without what its pointer cannot hold: such a part belongs in a sidecar.

    A listing of more than 32 files leaves; then, as long as the pointer is over 4 KiB, the schema leaves, then
    the listing. One rule, so that the same extension is the same bytes wherever it is made.
    """
    if extension.files is not None and len(extension.files) > INLINE_FILES:
        extension = replace(extension, files=None)
    if len(encode(extension)) > INLINE_BYTES:
        extension = replace(extension, schema=None)
    if len(encode(extension)) > INLINE_BYTES:
        extension = replace(extension, files=None)
    return extension


def _attachment_to_json(file: Attachment) -> dict[str, Any]:
    return {"md5": file.md5, "path": file.path, "sha256": file.sha256, "size": file.size}


def _out(extension: Extension) -> dict[str, Any]:
    return _out_of(extension.directory, extension.stem)


def _out_of(directory: Directory, path: str) -> dict[str, Any]:
    return {
        "hash": "md5",
        "md5": f"{directory.md5}.dir",
        "nfiles": directory.nfiles,
        "path": path,
        "size": directory.size,
    }


# --- reading -------------------------------------------------------------------------------------------------


def decode(content: bytes, stem: str | None = None) -> Extension:
    """The extension that a pointer stands for. `stem`, the pointer's file name without `.dvc`, must agree.

    Raises PointerError, and nothing else, on bytes that are no valid pointer.
    """
    record, out = _open(content, "extension")
    try:
        checked.exactly(out, _OUT_KEYS, "outs")
        extension = _extension(record, _directory(out))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PointerError(_reason(error)) from error
    if record["id"] != extension.id:
        raise PointerError(f"its id is {str(record['id'])[:SHORT]}, its content gives {extension.short}")
    _check_place(out, extension.stem, stem)
    return extension


def decode_model(content: bytes, stem: str | None = None) -> tuple[ModelVersion, int]:
    """The model version that a pointer stands for, and its number.

    Raises PointerError, and nothing else, on bytes that are no valid pointer.
    """
    record, out = _open(content, "model")
    try:
        checked.exactly(out, _OUT_KEYS | {"remote"}, "outs")
        version = _model(record, _directory(out))
        label, _ = split_stem(checked.text(out["path"])) or ("", "")
        number = int(checked.matching(NUMBER, label, "version number"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PointerError(_reason(error)) from error
    if record["id"] != version.id:
        raise PointerError(f"its id is {str(record['id'])[:SHORT]}, its content gives {version.short}")
    _check_place(out, f"{number}-{version.short}", stem)
    return version, number


def files_from_json(value: Any) -> tuple[File, ...]:
    """A listing from JSON; raises PointerError where it is malformed or unsafe."""
    try:
        return _files(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PointerError(_reason(error)) from error


def _open(content: bytes, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    document = _parse(content)
    try:
        checked.exactly(document, {"meta", "outs"}, "the file")
        checked.exactly(document["meta"], {"gitdata"}, "meta")
        record, outs = document["meta"]["gitdata"], document["outs"]
        if checked.integer(record["format"]) > FORMAT:
            raise PointerError(f"it has format {record['format']}, this gitdata reads up to {FORMAT}: update it")
        if record["kind"] != kind:
            raise PointerError(f"it stands for a {record['kind']!r}, not for a {kind!r}")
        if not isinstance(outs, list) or len(outs) != 1:
            raise PointerError("'outs' must hold exactly one directory")
        if not isinstance(record["id"], str):
            raise PointerError("its id is not text")
        return record, outs[0]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PointerError(_reason(error)) from error


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > MAXIMUM_BYTES:
        raise PointerError(f"it has {len(content)} bytes; no pointer is that large")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PointerError("it is not UTF-8 text") from error
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (json.JSONDecodeError, RecursionError):
        document = _parse_yaml(text)
    except ValueError as error:
        raise PointerError(str(error)) from error
    if not isinstance(document, dict):
        raise PointerError("it is not a mapping")
    return document


def _parse_yaml(text: str) -> Any:
    """`dvc add` on a pointer rewrites it in YAML syntax: same content, so it is read all the same."""
    from ruamel.yaml import YAML

    if "meta" not in text and text.startswith(("outs:", "deps:", "md5:", "frozen:", "wdir:")):
        raise PointerError("it was made by DVC and says nothing of an extension; it belongs elsewhere")
    if "meta" not in text or len(text) > 16 * INLINE_BYTES:
        raise PointerError("it is neither JSON nor YAML")
    try:
        anchored = any(getattr(event, "anchor", None) for event in YAML(typ="safe", pure=True).parse(text))
        document = None if anchored else YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # a parser of hostile text raises whatever its parts raise
        raise PointerError("it is neither JSON nor YAML") from error
    if anchored:  # DVC writes none, and they multiply
        raise PointerError("it holds anchors of YAML")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in it")
    return document


_EXTENSION_KEYS = frozenset(
    ["dataset", "format", "id", "kind", "listing", "parents", "replaces", "sidecars", "split_policy", "version"],
)
_OUT_KEYS = frozenset(["hash", "md5", "nfiles", "path", "size"])
_MODEL_KEYS = frozenset(
    [
        "added",
        "commit",
        "declaration",
        "format",
        "id",
        "kind",
        "method",
        "metrics",
        "model",
        "package",
        "parent",
        "restore",
        "training",
    ]
)


def _extension(record: dict[str, Any], directory: Directory) -> Extension:
    checked.exactly(record, _EXTENSION_KEYS, "meta.gitdata", optional={"schema", "inputs", "outputs"})
    listing, policy = record["listing"], record["split_policy"]
    checked.exactly(listing, {"digest", "rows"}, "listing", optional={"files"})
    checked.exactly(policy, {"test"}, "split_policy")
    if policy["test"] not in POLICIES:
        raise PointerError(f"split policy {policy['test']!r} is none of {', '.join(POLICIES)}")
    files = _files(listing["files"]) if "files" in listing else None
    rows = tuple(sorted((checked.split(k), checked.integer(v)) for k, v in dict(listing["rows"]).items()))
    if files is not None and (listing_digest(files) != listing["digest"] or row_counts(files) != rows):
        raise PointerError("its list of files does not agree with the digest of that list")
    return Extension(
        dataset=checked.matching(NAME, record["dataset"], "dataset name"),
        version=checked.matching(VERSION, record["version"], "version"),
        parents=checked.ids(record["parents"], "parents"),
        test_policy=policy["test"],
        replaces=checked.ids(record["replaces"], "replaces"),
        listing=checked.matching(ID, listing["digest"], "listing digest"),
        rows=rows,
        files=files,
        schema=Schema.from_json(record["schema"]) if "schema" in record else None,
        sidecars=_sidecars(record["sidecars"]),
        directory=directory,
        inputs=checked.texts(record.get("inputs", [])),
        outputs=checked.texts(record.get("outputs", [])),
    )


def _model(record: dict[str, Any], directory: Directory) -> ModelVersion:
    checked.exactly(record, _MODEL_KEYS, "meta.gitdata")
    checked.exactly(record["package"], {"digest", "files"}, "package")
    files = _attachments(record["package"]["files"])
    if package_digest(files) != record["package"]["digest"]:
        raise PointerError("its list of files does not agree with the digest of its package")
    parent = record["parent"]
    for key in ("metrics", "training"):
        if not isinstance(record[key], dict):
            raise PointerError(f"'{key}' is not a mapping")
    return ModelVersion(
        model=checked.matching(NAME, record["model"], "model name"),
        parent=None if parent is None else checked.matching(ID, parent, "parent"),
        added=checked.ids(record["added"], "added"),
        restore=checked.matching(ID, record["restore"], "restore digest"),
        declaration=checked.matching(ID, record["declaration"], "declaration digest"),
        package=record["package"]["digest"],
        files=files,
        directory=directory,
        commit=checked.matching(COMMIT, record["commit"], "commit"),
        method=checked.text(record["method"]),
        training=record["training"],
        metrics=record["metrics"],
    )


def _directory(out: Any) -> Directory:
    if out["hash"] != "md5":
        raise PointerError(f"'outs' uses the hash {out['hash']!r}, not md5")
    name = checked.text(out["md5"])
    if not name.endswith(".dir"):
        raise PointerError("'outs' does not name a directory")
    md5 = checked.matching(MD5, name.removesuffix(".dir"), "md5")
    return Directory(md5, checked.integer(out["size"]), checked.integer(out["nfiles"]))


def _check_place(out: dict[str, Any], own_stem: str, file_stem: str | None) -> None:
    for what, found in (("'outs' has the path", out["path"]), ("its file name is", file_stem)):
        if found is not None and found != own_stem:
            raise PointerError(f"{what} {found!r}, its content gives {own_stem!r}")


def _files(value: Any) -> tuple[File, ...]:
    files = []
    for item in checked.listed(value, "files"):
        checked.exactly(item, {"md5", "path", "rows", "sha256", "size", "split"}, "a file")
        files.append(
            File(
                split=checked.split(item["split"]),
                path=checked.safe_path(item["path"]),
                sha256=checked.matching(ID, item["sha256"], "sha256"),
                size=checked.integer(item["size"]),
                rows=checked.integer(item["rows"]),
                md5=checked.matching(MD5, item["md5"], "md5"),
            )
        )
    if len({file.place for file in files}) != len(files):
        raise PointerError("a file stands twice in it")
    return tuple(sorted(files))


def _attachments(value: Any) -> tuple[Attachment, ...]:
    attachments = []
    for item in checked.listed(value, "files"):
        checked.exactly(item, {"md5", "path", "sha256", "size"}, "a file")
        path, sha256 = checked.safe_path(item["path"]), checked.matching(ID, item["sha256"], "sha256")
        attachments.append(
            Attachment(path, sha256, checked.integer(item["size"]), checked.matching(MD5, item["md5"], "md5"))
        )
    if len({attachment.path for attachment in attachments}) != len(attachments):
        raise PointerError("a file stands twice in it")
    return tuple(sorted(attachments))


def _sidecars(value: Any) -> tuple[Attachment, ...]:
    found = _attachments(value)
    if other := next((a.path for a in found if not a.path.startswith(f"{SIDECAR}/")), None):
        raise PointerError(f"the sidecar {other!r:.80} does not lie in {SIDECAR}/")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks the field {error}"
    return str(error) or type(error).__name__
