"""The commands on a repository and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitdata.cli.shared import (
    Dataset,
    Dedupe,
    Files,
    Json,
    Message,
    Names,
    References,
    Splits,
    TestPart,
    ValidationPart,
    Version,
    app,
    hook_lines,
    open_repo,
    print_lines,
    say,
    say_always,
    show_records,
)
from gitdata.errors import FINDINGS, Mendable

if TYPE_CHECKING:
    from gitdata.commands.intake import Corrections, Request
    from gitdata.commands.records import Record
    from gitdata.data.pointer import Policy
    from gitdata.repo import Repo


@app.command()
def add(
    dataset: Dataset,
    files: Files = None,
    test: TestPart = None,
    validation: ValidationPart = None,
    inputs: Names = None,
    outputs: Names = None,
    version: Version = None,
    dedupe: Dedupe = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Start a dataset: a base extension from files."""
    from gitdata.commands import extend as command

    request = _request(dataset, files, test, validation, inputs, outputs, version, dedupe, message)
    repo = open_repo()
    record = command.add(repo, request, say)
    _after_extending(repo, record, as_json)


@app.command()
def extend(
    dataset: Dataset,
    files: Files = None,
    parent: Annotated[list[str] | None, typer.Option("--parent", help="A version or id; default: the heads.")] = None,
    grown: Annotated[
        bool, typer.Option("--grown", help="FILE is the whole grown data set: store what is new.")
    ] = False,
    append_only_new: Annotated[
        bool, typer.Option("--append-only-new", help="Where rows of a grown file changed: store what is new.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Where rows of a grown file changed: it takes the place of the heads.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Take rows of a grown file that were retracted, too.")] = False,
    test: TestPart = None,
    validation: ValidationPart = None,
    test_policy: Annotated[str, typer.Option(help="The test rows of the parents: add, replace or drop.")] = "add",
    inputs: Names = None,
    outputs: Names = None,
    version: Version = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Retract the extension that has --version.")] = False,
    dedupe: Dedupe = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Add new rows to a dataset. An extension on its heads: stages a pointer; with -m commits it."""
    from gitdata.commands import extend as command

    request = _request(
        dataset,
        files,
        test,
        validation,
        inputs,
        outputs,
        version,
        dedupe,
        message,
        parent,
        _policy(test_policy),
        _corrections(grown, append_only_new, replace),
        overwrite,
        again,
    )
    repo = open_repo()
    record = command.extend(repo, request, say)
    _after_extending(repo, record, as_json)


@app.command()
def status(
    offline: Annotated[bool, typer.Option("--offline", help="Never asks the network; this is always so.")] = False,
    as_json: Json = False,
) -> None:
    """What is here, not committed, missing and pending."""
    from gitdata.commands.status import status as run
    from gitdata.report.tables import status_lines

    records = run(open_repo())
    show_records(records, as_json, lambda: print_lines(status_lines(records)))


@app.command()
def log(
    reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")],
    graph: Annotated[bool, typer.Option("--graph", help="Draw the DAG, heads on top.")] = False,
    as_json: Json = False,
) -> None:
    """The extensions of a dataset, oldest first."""
    from gitdata.commands.history import log as run
    from gitdata.report.extensions import log_rows, print_graph
    from gitdata.report.tables import print_table

    records = run(open_repo(), reference)
    if graph and not as_json:
        return print_graph(records)
    headings = ("version", "id", "extends", "train\n+val+test", "size", "committed", "by")
    show_records(records, as_json, lambda: print_table(headings, log_rows(records), right=(3, 4)))


@app.command()
def show(reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")], as_json: Json = False) -> None:
    """Everything that the pointer of an extension says."""
    from gitdata.commands.history import show as run
    from gitdata.report.extensions import show_lines

    records = run(open_repo(), reference)
    show_records(records, as_json, lambda: print_lines([line for record in records for line in show_lines(record)]))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="DATASET@A")],
    second: Annotated[str, typer.Argument(metavar="DATASET@B")],
    rows_only: Annotated[bool, typer.Option("--rows-only", help="No statistics: reads row indexes, no blob.")] = False,
    as_json: Json = False,
) -> None:
    """What B has beyond A: rows, fields, statistics, drift. And whether it lies outside what was there."""
    from gitdata.commands.diff import diff as run
    from gitdata.report.differences import print_difference

    records = run(open_repo(), first, second, statistics=not rows_only, say=say)
    show_records(records, as_json, lambda: print_difference(records))


@app.command()
def ls(as_json: Json = False) -> None:
    """The datasets and models of this repository."""
    from gitdata.commands.listing import ls as run
    from gitdata.report.tables import listing_lines

    records = run(open_repo())
    show_records(records, as_json, lambda: print_lines(listing_lines(records)))


@app.command()
def retract(
    references: Annotated[list[str], typer.Argument(metavar="DATASET@X…")],
    reason: Annotated[str, typer.Option("--reason", help="Why the extension is bad.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the retraction back.")] = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Declare extensions bad: no model learns from them. Stages a file each; with -m commits them."""
    from gitdata.commands import retract as command
    from gitdata.report.extensions import retraction_lines

    repo = open_repo()
    if undo:
        records = command.undo(repo, references, message, say)
    else:
        records = command.retract(repo, references, reason, message, say)
    show_records(records, as_json, lambda: print_lines([line for r in records for line in retraction_lines(r)]))


@app.command()
def purge(
    reference: Annotated[str, typer.Argument(metavar="DATASET@X")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted.")] = False,
    message: Message = None,
    as_json: Json = False,
) -> None:
    """Delete the bytes of a retracted extension. From cache and remote, for good, once no branch needs them."""
    from gitdata.commands.purge import purge as run
    from gitdata.report.extensions import purge_lines

    record = run(open_repo(), reference, message, dry_run=dry_run, say=say)
    show_records([record], as_json, lambda: print_lines(purge_lines(record)))


@app.command()
def prune(
    remote: Annotated[bool, typer.Option("--remote", help="Also the store beside the git server.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Free disk space. Deletes from the cache what the remote holds too and no branch here has live."""
    from gitdata.commands.prune import prune as run
    from gitdata.report.tables import prune_lines

    records = run(open_repo(), remote=remote, dry_run=dry_run, say=say)
    show_records(records, as_json, lambda: print_lines(prune_lines(records)))


@app.command()
def renumber(dataset: Dataset, message: Message = None, as_json: Json = False) -> None:
    """Settle versions that stand for two extensions. What is not on the deployment branch yet gets the next label."""
    from gitdata.commands.renumber import renumber as run
    from gitdata.report.extensions import renumbered_lines

    records = run(open_repo(), dataset, message, say_always)
    show_records(records, as_json, lambda: print_lines(renumbered_lines(records, dataset)))


@app.command()
def verify(
    remote: Annotated[bool, typer.Option("--remote", help="Also what the DVC remote holds.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read and hash content, not presence and size alone.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what another copy allows.")] = False,
    rows: Annotated[
        bool, typer.Option("--rows", help="Read rows; compare them with what sidecars say of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for damage, and mend it. In pointers, chains, ledger, cache, remote; exit 1 if something is wrong."""
    from gitdata.commands.verify import Options
    from gitdata.commands.verify import verify as run
    from gitdata.report.tables import verify_lines

    records = run(open_repo(), Options(remote, deep, repair, rows), say)
    show_records(records, as_json, lambda: print_lines(verify_lines(records)))
    if any(record.kind == "finding" and not record["repaired"] for record in records):
        raise typer.Exit(FINDINGS)


@app.command()
def push(references: References = None, as_json: Json = False) -> None:
    """Upload blobs and see them there. `git push` does this for what it pushes."""
    from gitdata.commands.sync import push as run
    from gitdata.report.tables import plural, size_text

    records = run(open_repo(), references or [], say)
    show_records(
        records,
        as_json,
        lambda: print_lines([f"{plural(r['blobs'], 'blob')} on {r.id}, {size_text(r['bytes'])} sent" for r in records]),
    )


@app.command()
def fetch(references: References = None, split: Splits = None, as_json: Json = False) -> None:
    """Bring blobs into the cache, each verified. The ledger is brought up to date as well."""
    from gitdata.commands.sync import fetch as run

    records = run(open_repo(), references or [], _splits(split), say)
    show_records(records, as_json, lambda: print_lines(transfer_lines(records)))


@app.command()
def pull(references: References = None, split: Splits = None, as_json: Json = False) -> None:
    """Fetch, then put the files beside their pointers."""
    from gitdata.commands.sync import pull as run

    records = run(open_repo(), references or [], _splits(split), say)
    show_records(records, as_json, lambda: print_lines(transfer_lines(records)))


@app.command()
def checkout(
    reference: Annotated[str, typer.Argument(metavar="DATASET[@X]")],
    split: Splits = None,
    union: Annotated[
        Path | None,
        typer.Option("--union", metavar="OUT", help="HDF5, Parquet, CSV, or a folder that shows all rows instead."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="With --union: plain files that hold them.")] = False,
    as_json: Json = False,
) -> None:
    """Put the files of a closure beside their pointers. With --union: one file or folder that shows them."""
    from gitdata.commands.sync import checkout as run

    if union is not None:
        _checkout_union(reference, union, _splits(split), copy, as_json)
        return
    if copy:
        raise Mendable("--copy belongs to --union.", "Name the file: `--union FILE --copy`.")
    records = run(open_repo(), reference, _splits(split), say)
    show_records(records, as_json, lambda: print_lines(transfer_lines(records)))


def _checkout_union(reference: str, out: Path, splits: list[str], copy: bool, as_json: bool) -> None:
    from gitdata.commands.view import union as run
    from gitdata.report.views import union_lines

    record = run(open_repo(), reference, out, splits, copy=copy, say=say)
    show_records([record], as_json, lambda: print_lines(union_lines(record)))


def _request(
    dataset: str,
    files: list[Path] | None,
    test: str | None,
    validation: str | None,
    inputs: str | None,
    outputs: str | None,
    version: str | None,
    dedupe: bool,
    message: str | None,
    parents: list[str] | None = None,
    test_policy: Policy = "add",
    grown: Corrections | None = None,
    overwrite: bool = False,
    again: bool = False,
) -> Request:
    from gitdata.commands.intake import Request

    return Request(
        dataset=dataset,
        files=files or [],
        test=test,
        validation=validation,
        inputs=_names(inputs),
        outputs=_names(outputs),
        version=version,
        message=message,
        parents=tuple(parents) if parents else None,
        test_policy=test_policy,
        dedupe=dedupe,
        grown=grown,
        again=again,
        overwrite=overwrite,
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def _policy(text: str) -> Policy:
    from gitdata.data.pointer import POLICIES

    if text not in POLICIES:
        raise Mendable(f"--test-policy {text} is none of {', '.join(POLICIES)}.", "Choose one of them.")
    return text  # type: ignore[return-value]


def _corrections(grown: bool, append_only_new: bool, replace: bool) -> Corrections | None:
    """What to do with the corrections of a grown file; None where it is none."""
    if append_only_new and replace:
        raise Mendable("--append-only-new and --replace exclude each other.", "Choose one of them.")
    if not grown:
        if append_only_new or replace:
            raise Mendable("--append-only-new and --replace are about a grown file.", "Give --grown besides.")
        return None
    return "append-only-new" if append_only_new else "replace" if replace else "refuse"


def _splits(splits: list[str] | None) -> list[str]:
    from gitdata.data.pointer import SPLITS

    for split in splits or ():
        if split not in SPLITS:
            raise Mendable(f"--split {split} is none of {', '.join(SPLITS)}.", "Choose one of them.")
    return splits or []


def _after_extending(repo: Repo, record: Record, as_json: bool) -> None:
    from gitdata.automation import hooks
    from gitdata.report.extensions import extension_text

    if hooks.missing(repo):
        for line in hook_lines(hooks.install(repo)):
            say_always(line)
    show_records([record], as_json, lambda: print_lines(extension_text(record)))


def transfer_lines(records: Sequence[Record]) -> list[str]:
    """What fetch, pull and checkout say."""
    from gitdata.report.tables import plural, size_text

    lines = []
    for record in records:
        if record.kind == "fetch":
            lines.append(
                f"{plural(record['extensions'], 'extension')} in the cache, {size_text(record['bytes'])} fetched"
            )
        else:
            lines.append(f"{record['folder']}: {plural(record['files'], 'file')} checked out")
    return lines
