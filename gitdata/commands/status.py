"""Status: heads, pointers not staged, blobs the cache lacks, double versions, what is pending per model.

It reads git and stats the cache, and never asks the network.
"""

from __future__ import annotations

from gitdata.commands.records import Record
from gitdata.commands.situation import pending
from gitdata.commands.transfer import incomplete
from gitdata.data import pointer, union
from gitdata.data.chain import Chain
from gitdata.errors import GitdataError
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, MODELS, Snapshot


def status(repo: Repo) -> list[Record]:
    """One record per dataset, one per model; on a server one on the server."""
    if repo.is_bare:
        return [_server(repo)]
    repo.require_initialised()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(_changed, repo)  # git looks at every file while we look at what the pointers say
        snapshot = repo.work_tree_snapshot()
        commit = repo.ledger_commit()
        models = [_model(repo, model, snapshot, commit) for model in sorted(snapshot.declarations)]
        changed = asked.result()
    datasets = [_dataset(repo, snapshot, name, changed) for name in sorted(snapshot.chains)]
    datasets += [_removed(name, changed) for name in sorted(_named_in(changed) - snapshot.chains.keys())]
    return [*datasets, *models]


def _server(repo: Repo) -> Record:
    branches = [branch for branch in repo.git.branches() if not branch.startswith("gitdata/")]
    return Record("server", str(repo.top), {"branches": sorted(branches), "store": str(repo.state / "remote")})


def _changed(repo: Repo) -> dict[str, str]:
    """Pointers and declarations that git does not hold as they are: path → two letters of `git status`."""
    listing = repo.git.run(
        "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", DATASETS, MODELS
    )
    entries = [entry.decode(errors="surrogateescape") for entry in listing.split(b"\0") if entry]
    return {entry[3:]: entry[:2] for entry in entries}


def _named_in(changed: dict[str, str]) -> set[str]:
    """The datasets of pointers that were deleted."""
    deleted = [path for path, letters in changed.items() if "D" in letters and path.endswith(".dvc")]
    return {path.split("/")[1] for path in deleted if path.startswith(f"{DATASETS}/") and path.count("/") == 2}


def _removed(name: str, changed: dict[str, str]) -> Record:
    """A dataset that the last commit has and the work tree has not."""
    own = {path: letters for path, letters in changed.items() if path.startswith(f"{DATASETS}/{name}/")}
    return Record("dataset removed", name, {"pointers": len(own), "staged": any(x[0] == "D" for x in own.values())})


def _dataset(repo: Repo, snapshot: Snapshot, name: str, changed: dict[str, str]) -> Record:
    chain = snapshot.chains[name]
    live = repo.live(chain)
    extensions = chain.ordered(live)
    missing = incomplete(repo, extensions)
    own = {path: letters for path, letters in changed.items() if path.startswith(f"{DATASETS}/{name}/")}
    return Record(
        "dataset",
        name,
        {
            "double_versions": {label: [id[:8] for id in ids] for label, ids in chain.double_versions.items()},
            "extensions": len(extensions),
            "heads": [chain.extensions[head].stem for head in chain.heads],
            "missing": {e.stem: missing[e.id] for e in extensions if e.id in missing},
            "lost": sorted(id[:8] for id in chain.lost),
            "retracted": sorted(id[:8] for id in chain.retracted & chain.extensions.keys()),
            "rows": rows_in_force(chain, live),
            "rows_at_most": may_share(chain, live),
            "staged": sorted(path for path, letters in own.items() if letters[0] not in " ?"),
            "unstaged": sorted(path for path, letters in own.items() if letters[1] != " "),
        },
    )


def rows_in_force(chain: Chain, live: frozenset[str]) -> dict[str, int]:
    """Rows per split that count: test rows that a later extension replaced or dropped do not."""
    return {s: sum(e.rows_of(s) for e in chain.contributing(live, s)) for s in pointer.SPLITS}


def may_share(chain: Chain, live: frozenset[str]) -> bool:
    """Whether the union may have fewer rows: some live extensions are parallel, and what these share counts once."""
    if len(chain.heads) < 2 and all(len(extension.parents) < 2 for extension in chain.extensions.values()):
        return False  # mostly so, and quickly seen
    order = [extension.id for extension in chain.ordered(chain.closure(live))]
    parents = {id: chain.extensions[id].parents for id in order}
    return any(union.parallel(order, parents, {e.id for e in chain.contributing(live, s)}) for s in pointer.SPLITS)


def _model(repo: Repo, model: str, snapshot: Snapshot, ledger_commit: str | None) -> Record:
    """What is pending for a model; a declaration that is not valid is a finding, not a failure."""
    try:
        record = pending(repo, [model], snapshot, ledger_commit)[0]
    except GitdataError as error:
        return Record("model", model, {"error": str(error)})
    return Record("model", model, {**record.fields, "ledger_known": repo.is_ledger_known})
