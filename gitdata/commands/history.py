"""Log and show: the extensions of a dataset in order, and one of them in full."""

from __future__ import annotations

from typing import Any

from gitdata.commands.records import Record
from gitdata.commands.rowsource import schema_of
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.data.pointerfile import extension_record
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS


def log(repo: Repo, reference: str) -> list[Record]:
    """One record per extension, oldest first: of `DATASET@X` and its ancestors, of `DATASET` all there are.

    Who committed it when is git's knowledge.
    """
    from concurrent.futures import ThreadPoolExecutor

    dataset, _, selector = reference.partition("@")
    with ThreadPoolExecutor(1) as beside:
        introduced = beside.submit(_introduced, repo, dataset)  # git looks through history meanwhile
        snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
        chain, selected = snapshot.extensions(reference)
        wanted = [extension.id for extension in selected] if selector else list(chain.extensions)
        repo.live(chain, wanted)
        commits = introduced.result()
    return [_entry(chain, e, commits.get(e.short)) for e in chain.ordered(chain.closure(wanted))]


def show(repo: Repo, reference: str) -> list[Record]:
    """Everything that the pointers of `DATASET@X` say."""
    snapshot = repo.snapshot() if repo.is_bare else repo.work_tree_snapshot()
    chain, selected = snapshot.extensions(reference)
    commits = _introduced(repo, selected[0].dataset) if selected else {}
    records = []
    for extension in selected:
        entry = _entry(chain, extension, commits.get(extension.short))
        files = [{"path": f.place, "rows": f.rows, "sha256": f.sha256, "size": f.size} for f in extension.files or ()]
        details = extension_record(extension)
        more: dict[str, Any] = {key: details[key] for key in ("inputs", "outputs", "split_policy") if key in details}
        more |= {
            "fields": fields_of(repo, extension),
            "files": files,
            "missing": len(repo.missing_from_cache(extension)),
        }
        records.append(Record("extension in full", entry.id, {**entry.fields, **more}))
    return records


def fields_of(repo: Repo, extension: Extension) -> list[dict[str, Any]] | None:
    """The fields; of a wide schema, which lies in a sidecar, None where that is not in the cache."""
    if extension.schema is None and not repo.cache.holds(repo.sidecar(extension, "schema.json")):
        return None
    return schema_of(repo, extension).to_json()


def _entry(chain: Chain, extension: Extension, commit: dict[str, str] | None) -> Record:
    return Record(
        "extension",
        extension.id,
        {
            "commit": commit,
            "dataset": extension.dataset,
            "head": extension.id in chain.heads,
            "parents": [chain.extensions[p].stem for p in extension.parents if p in chain.extensions],
            "lost": extension.id in chain.lost,
            "retracted": extension.id in chain.retracted,
            "rows": dict(extension.rows),
            "size": extension.directory.size,
            "state": chain.state_of(extension.id),
            "version": extension.version,
        },
    )


def _introduced(repo: Repo, dataset: str) -> dict[str, dict[str, str]]:
    """By id8: the commit that brought an extension first, under whatever label, with author, time and subject."""
    found = repo.git.introduced(f"{DATASETS}/{dataset}")
    oldest_last = sorted(found.items(), key=lambda item: item[1]["time"], reverse=True)
    return {path.removesuffix(".dvc").rpartition("-")[2]: about for path, about in oldest_last if path.endswith(".dvc")}
