"""Pointer files: the one valid encoding of extensions and model versions, and reading it back.

A pointer is a valid `.dvc` file in JSON syntax with one directory in `outs`; what is gitdata's own lies under
`meta.gitdata`. Pure: bytes in, frozen objects out, and back; reading raises PointerError and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Set
from dataclasses import replace
from typing import Any

from gitdata.canonical import readable_json
from gitdata.data.pointer import (
    COMMIT,
    FORMAT,
    ID,
    MD5,
    NAME,
    NUMBER,
    POLICIES,
    SHORT,
    SPLITS,
    VERSION,
    Attachment,
    Directory,
    Extension,
    File,
    ModelVersion,
    identity,
    is_safe_path,
    listing_digest,
    package_digest,
    row_counts,
    split_stem,
)
from gitdata.data.schema import Schema

MAXIMUM_BYTES = 4 * 1024 * 1024  # a model pointer lists ids, 68 bytes each; anything larger is not a pointer
INLINE_BYTES = 4 * 1024
INLINE_FILES = 32


class PointerError(ValueError):
    """The bytes are not a valid pointer; the message says why."""


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
        _exactly(out, _OUT_KEYS, "outs")
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
        _exactly(out, _OUT_KEYS | {"remote"}, "outs")
        version = _model(record, _directory(out))
        label, _ = split_stem(_text(out["path"])) or ("", "")
        number = int(_matching(NUMBER, label, "version number"))
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
        _exactly(document, {"meta", "outs"}, "the file")
        _exactly(document["meta"], {"gitdata"}, "meta")
        record, outs = document["meta"]["gitdata"], document["outs"]
        if _integer(record["format"]) > FORMAT:
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
    from ruamel.yaml.error import YAMLError

    if "meta" not in text and text.startswith(("outs:", "deps:", "md5:", "frozen:", "wdir:")):
        raise PointerError("it was made by DVC and says nothing of an extension; it belongs elsewhere")
    if "meta" not in text or len(text) > 16 * INLINE_BYTES:
        raise PointerError("it is neither JSON nor YAML")
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise PointerError("it is neither JSON nor YAML") from error


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
    _exactly(record, _EXTENSION_KEYS, "meta.gitdata", optional={"schema", "inputs", "outputs"})
    listing, policy = record["listing"], record["split_policy"]
    _exactly(listing, {"digest", "rows"}, "listing", optional={"files"})
    _exactly(policy, {"test"}, "split_policy")
    if policy["test"] not in POLICIES:
        raise PointerError(f"split policy {policy['test']!r} is none of {', '.join(POLICIES)}")
    files = _files(listing["files"]) if "files" in listing else None
    rows = tuple(sorted((_split(k), _integer(v)) for k, v in dict(listing["rows"]).items()))
    if files is not None and (listing_digest(files) != listing["digest"] or row_counts(files) != rows):
        raise PointerError("its list of files does not agree with the digest of that list")
    return Extension(
        dataset=_matching(NAME, record["dataset"], "dataset name"),
        version=_matching(VERSION, record["version"], "version"),
        parents=_ids(record["parents"], "parents"),
        test_policy=policy["test"],
        replaces=_ids(record["replaces"], "replaces"),
        listing=_matching(ID, listing["digest"], "listing digest"),
        rows=rows,
        files=files,
        schema=Schema.from_json(record["schema"]) if "schema" in record else None,
        sidecars=_attachments(record["sidecars"]),
        directory=directory,
        inputs=_texts(record.get("inputs", [])),
        outputs=_texts(record.get("outputs", [])),
    )


def _model(record: dict[str, Any], directory: Directory) -> ModelVersion:
    _exactly(record, _MODEL_KEYS, "meta.gitdata")
    _exactly(record["package"], {"digest", "files"}, "package")
    files = _attachments(record["package"]["files"])
    if package_digest(files) != record["package"]["digest"]:
        raise PointerError("its list of files does not agree with the digest of its package")
    parent = record["parent"]
    for key in ("metrics", "training"):
        if not isinstance(record[key], dict):
            raise PointerError(f"'{key}' is not a mapping")
    return ModelVersion(
        model=_matching(NAME, record["model"], "model name"),
        parent=None if parent is None else _matching(ID, parent, "parent"),
        added=_ids(record["added"], "added"),
        restore=_matching(ID, record["restore"], "restore digest"),
        declaration=_matching(ID, record["declaration"], "declaration digest"),
        package=record["package"]["digest"],
        files=files,
        directory=directory,
        commit=_matching(COMMIT, record["commit"], "commit"),
        method=_text(record["method"]),
        training=record["training"],
        metrics=record["metrics"],
    )


def _directory(out: Any) -> Directory:
    if out["hash"] != "md5":
        raise PointerError(f"'outs' uses the hash {out['hash']!r}, not md5")
    name = _text(out["md5"])
    if not name.endswith(".dir"):
        raise PointerError("'outs' does not name a directory")
    md5 = _matching(MD5, name.removesuffix(".dir"), "md5")
    return Directory(md5, _integer(out["size"]), _integer(out["nfiles"]))


def _check_place(out: dict[str, Any], own_stem: str, file_stem: str | None) -> None:
    for what, found in (("'outs' has the path", out["path"]), ("its file name is", file_stem)):
        if found is not None and found != own_stem:
            raise PointerError(f"{what} {found!r}, its content gives {own_stem!r}")


def _files(value: Any) -> tuple[File, ...]:
    files = []
    for item in _list(value, "files"):
        _exactly(item, {"md5", "path", "rows", "sha256", "size", "split"}, "a file")
        files.append(
            File(
                split=_split(item["split"]),
                path=_safe_path(item["path"]),
                sha256=_matching(ID, item["sha256"], "sha256"),
                size=_integer(item["size"]),
                rows=_integer(item["rows"]),
                md5=_matching(MD5, item["md5"], "md5"),
            )
        )
    if len({file.place for file in files}) != len(files):
        raise PointerError("a file stands twice in it")
    return tuple(sorted(files))


def _attachments(value: Any) -> tuple[Attachment, ...]:
    attachments = []
    for item in _list(value, "files"):
        _exactly(item, {"md5", "path", "sha256", "size"}, "a file")
        path, sha256 = _safe_path(item["path"]), _matching(ID, item["sha256"], "sha256")
        attachments.append(Attachment(path, sha256, _integer(item["size"]), _matching(MD5, item["md5"], "md5")))
    if len({attachment.path for attachment in attachments}) != len(attachments):
        raise PointerError("a file stands twice in it")
    return tuple(sorted(attachments))


def _exactly(value: Any, keys: Set[str], where: str, optional: Set[str] = frozenset()) -> None:
    if not isinstance(value, dict):
        raise PointerError(f"{where} is not a mapping")
    if unknown := sorted(str(key) for key in value.keys() - keys - optional):
        raise PointerError(f"{where} has the unknown field {unknown[0]!r}")
    if missing := sorted(keys - value.keys()):
        raise PointerError(f"{where} lacks the field {missing[0]!r}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise PointerError(f"'{where}' is not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise PointerError(f"{value!r:.40} is not text")
    value.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value, "names of fields"))


def _matching(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if not pattern.fullmatch(_text(value)):
        raise PointerError(f"{value!r:.80} is no valid {what}")
    return str(value)


def _ids(value: Any, where: str) -> tuple[str, ...]:
    ids = [_matching(ID, item, "id") for item in _list(value, where)]
    if len(set(ids)) != len(ids):
        raise PointerError(f"'{where}' names an id twice")
    return tuple(sorted(ids))


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise PointerError(f"{value!r:.40} is no valid count")
    return value


def _split(value: Any) -> str:
    if value not in SPLITS:
        raise PointerError(f"{value!r:.40} is none of the splits {', '.join(SPLITS)}")
    return str(value)


def _safe_path(value: Any) -> str:
    if not is_safe_path(_text(value)):
        raise PointerError(f"the path {value!r:.80} leaves its folder")
    return str(value)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks the field {error}"
    return str(error) or type(error).__name__
