"""The commands on models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitdata.cli.shared import (
    Json,
    app,
    harmless_json,
    open_repo,
    print_lines,
    say,
    say_always,
    show_records,
)
from gitdata.errors import FINDINGS, INTERRUPTED, GateRefused, Interrupted

if TYPE_CHECKING:
    from gitdata.commands.records import Record

OneVersion = Annotated[str, typer.Argument(metavar="MODEL[@N]")]
Version = Annotated[str, typer.Argument(metavar="MODEL@N")]
On = Annotated[str | None, typer.Option("--on", help="DATASET@X instead of the declared data at HEAD.")]
Why = Annotated[str | None, typer.Option("-m", "--message", help="Why.")]


@app.command()
def check(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    quick: Annotated[bool, typer.Option("--quick", help="By the schema alone: no rows are read.")] = False,
    as_json: Json = False,
) -> None:
    """Hold a declared model against its data. Names what would fail, or be in vain, before anything is computed."""
    from gitdata.commands.check import check as run
    from gitdata.report.check import check_lines

    records = run(open_repo(), model, quick=quick, say=say)
    show_records(records, as_json, lambda: print_lines(check_lines(records)))
    if records[0]["errors"]:
        raise typer.Exit(FINDINGS)


@app.command()
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    at: Annotated[str | None, typer.Option("--at", help="The commit to train on; default: HEAD.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="DATASET@X instead of the declared data.")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", help="Rungs instead of the declared ones.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also if this was already attempted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    attach: Annotated[
        Path | None, typer.Option("--attach", metavar="FOLDER", help="Where a version goes that cannot be published.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on what is unseen, test, record. Restores the last clean version; tests against the champion."""
    from gitdata.automation.runner import end_with_the_runner
    from gitdata.commands.train import Options
    from gitdata.commands.train import train as run
    from gitdata.report.progress import shown_epochs
    from gitdata.report.tables import training_lines

    end_with_the_runner()
    options = Options(at, data, tuple(method) if method else None, force, dry_run, attach)
    try:
        with shown_epochs(as_json=as_json) as tell:
            record = run(open_repo(), model, options, say, tell)
    except Interrupted as stop:
        say_always(f"gitdata: {stop}")
        raise typer.Exit(INTERRUPTED) from stop
    show_records([record], as_json, lambda: print_lines(training_lines(record)))
    if record.fields.get("verdict") == "refused":
        raise typer.Exit(GateRefused.exit_code)


@app.command()
def pending(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 when there is something to do.")] = False,
    as_json: Json = False,
) -> None:
    """What the champion has not seen, or must not have seen."""
    from gitdata.commands.models import up_to_date_ledger
    from gitdata.commands.situation import pending as run
    from gitdata.report.tables import pending_text, suspect_lines

    repo = open_repo()
    snapshot = repo.snapshot()
    names = [model] if model else sorted(snapshot.declarations)
    records = run(repo, names, snapshot, up_to_date_ledger(repo, say))
    show_records(
        records,
        as_json,
        lambda: print_lines(
            [line for r in records for line in (f"{r.id}: {pending_text(r)}", *suspect_lines(r["suspects"]))]
            or [f"No model is declared at commit {snapshot.commit:.8}."]
        ),
    )
    if exit_code and any(record["action"] != "nothing" for record in records):
        raise typer.Exit(FINDINGS)


@app.command()
def models(model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None, as_json: Json = False) -> None:
    """The versions of models, with verdict and champion (★)."""
    from gitdata.commands.models import models as run
    from gitdata.report.tables import model_rows, print_table

    records = run(open_repo(), model, say)
    headings = ("version", "id", "verdict", "method", "new", "metric", "loss against (90 %), or why")
    show_records(records, as_json, lambda: print_table(headings, model_rows(records), right=(4, 5)))


@app.command()
def lineage(
    reference: Annotated[str, typer.Argument(metavar="MODEL[@N]")],
    of: Annotated[str | None, typer.Option("--of", help="DATASET@X: which versions saw it.")] = None,
    openlineage: Annotated[
        bool, typer.Option("--openlineage", help="Print OpenLineage run events, one a line, oldest first.")
    ] = False,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="URI", help="Theirs; default: the git remote's URL.")
    ] = None,
    as_json: Json = False,
) -> None:
    """What a version saw and how it came about, or which versions saw an extension."""
    from gitdata.commands import lineage as command
    from gitdata.report.tables import lineage_lines, saw_lines

    if of is not None and openlineage:
        raise typer.BadParameter("--of and --openlineage do not go together.")
    repo = open_repo()
    if of is not None:
        records = command.versions_that_saw(repo, reference, of, say)
        show_records(records, as_json, lambda: print_lines(saw_lines(records, reference, of)))
    elif openlineage:
        from gitdata.report.openlineage import namespace_of, run_events

        records = command.lineage(repo, reference, say)
        url = repo.git.remote_url(repo.git_remote) if repo.git_remote else None
        for event in run_events(records, namespace or namespace_of(url, str(repo.top))):
            print(harmless_json(event))
    else:
        records = command.lineage(repo, reference, say, fetch=as_json)
        show_records(records, as_json, lambda: print_lines(lineage_lines(records)))


@app.command()
def reproduce(version: OneVersion, as_json: Json = False) -> None:
    """Train a recorded version again, and compare: exit 0 if it comes to the same, 1 if not. Records nothing."""
    from gitdata.commands.reproduce import reproduce as run
    from gitdata.report.reproduction import reproduction_lines

    record = run(open_repo(), version, say)
    show_records([record], as_json, lambda: print_lines(reproduction_lines(record)))
    if not record["is_reproduced"]:
        raise typer.Exit(FINDINGS)


@app.command()
def measures(reference: Annotated[str, typer.Argument(metavar="MODEL[@N]")], as_json: Json = False) -> None:
    """How a model went along as its data grew: losses by extension and version, transfer, forgetting, cost."""
    from gitdata.commands.measures import measures as run
    from gitdata.report.measures import matrix_rows, measure_lines
    from gitdata.report.tables import print_table

    record = run(open_repo(), reference, say)

    def show() -> None:
        headings, rows = matrix_rows(record)
        if rows:
            print_table(headings, rows, right=range(1, len(headings)))
        print_lines(measure_lines(record))

    show_records([record], as_json, show)


@app.command()
def evaluate(version: OneVersion, on: On = None, as_json: Json = False) -> None:
    """The metrics of a version on today's test rows. Rows it was trained on are left out."""
    from gitdata.commands.evaluate import evaluate as run
    from gitdata.report.tables import evaluation_lines

    record = run(open_repo(), version, on, say)
    show_records([record], as_json, lambda: print_lines(evaluation_lines(record)))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL@A")],
    second: Annotated[str, typer.Argument(metavar="MODEL@B")],
    on: On = None,
    as_json: Json = False,
) -> None:
    """Compare two versions on the same test rows. Rows that either was trained on are left out."""
    from gitdata.commands.evaluate import compare as run
    from gitdata.report.measures import compared_lines
    from gitdata.report.tables import comparison_lines

    record = run(open_repo(), first, second, on, say)
    sides = record["measures"], record["measures_of_other"]
    show_records([record], as_json, lambda: print_lines(comparison_lines(record) + compared_lines(*sides)))


@app.command()
def study(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods", metavar="A,B", help="Methods to compare with union training; 'declared': what is declared."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="How often, each from another seed.")] = 5,
    stages: Annotated[int, typer.Option("--stages", metavar="N", help="At most; extensions are joined.")] = 10,
    at: Annotated[str | None, typer.Option("--at", help="The commit whose chain and model; default: HEAD.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write a plot: .svg, .png or .pdf.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Go through a dataset's chain again by several methods, and compare accuracy and cost. Records nothing."""
    from gitdata.commands.study import Options
    from gitdata.commands.study import study as run
    from gitdata.report.study import conclusion, headings, plotted, require_plottable, study_rows
    from gitdata.report.tables import print_table

    if plot is not None:
        require_plottable(plot)
    names = tuple(name.strip() for name in methods.split(",") if name.strip()) if methods else ()
    try:
        records = run(open_repo(), model, Options(at, names, seeds, stages), say)
    except KeyboardInterrupt as stop:
        say_always("gitdata: interrupted; what was computed is kept: the same command goes on from there.")
        raise typer.Exit(INTERRUPTED) from stop

    def show() -> None:
        if rows := study_rows(records):
            print_table(headings(records), rows, right=range(1, len(rows[0])))
        print_lines(conclusion(records))

    show_records(records, as_json, show)
    if plot is not None and plotted(records, plot):
        say(f"The plot is in {plot}.")


@app.command()
def promote(version: Version, message: Why = None, as_json: Json = False) -> None:
    """Make a version the champion."""
    from gitdata.commands.settle import promote as run

    _show_settled(run(open_repo(), version, message, say), "is the champion", as_json)


@app.command()
def reject(version: Version, message: Why = None, as_json: Json = False) -> None:
    """Settle that a version is not to be used. Nothing is restored from it."""
    from gitdata.commands.settle import reject as run

    _show_settled(run(open_repo(), version, message, say), "is rejected", as_json)


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    to: Annotated[str | None, typer.Option("--to", metavar="N", help="Default: the champion before.")] = None,
    message: Why = None,
    as_json: Json = False,
) -> None:
    """Go back to an earlier champion. Those that came after it are settled as rolled back."""
    from gitdata.commands.settle import rollback as run

    _show_settled(run(open_repo(), model, to, message, say), "is the champion again", as_json)


def _show_settled(record: Record, what: str, as_json: bool) -> None:
    if record["champion"] and record["tainted"]:
        say_always(f"{record['model']}@{record['number']} saw what was retracted: {', '.join(record['tainted'])}.")
    line = f"{record['model']}@{record['number']} {what}: {record['reason']}"
    show_records([record], as_json, lambda: print_lines([line]))


@app.command()
def predict(
    version: OneVersion,
    source: Annotated[Path, typer.Argument(metavar="FILE")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The CSV file to write.")],
    as_json: Json = False,
) -> None:
    """Predict the outputs for the rows of a file. In order, in original units, as CSV."""
    from gitdata.commands.models import predict as run
    from gitdata.report.check import outside_lines

    record = run(open_repo(), version, source, output, say)
    for field, values in record["unknown"].items():
        say_always(f"'{field}' has values that {record['model']} {record['version']} never saw: {', '.join(values)}.")
    for line in outside_lines(record["outside"]):
        say_always(line)
    if record["tainted"]:
        say_always(f"{record['model']} {record['version']} saw what was retracted: {', '.join(record['tainted'])}.")
    text = (
        f"{record['rows']} rows of {', '.join(record['outputs'])} by {record['model']} {record['version']} in {output}"
    )
    show_records([record], as_json, lambda: print_lines([text]))
