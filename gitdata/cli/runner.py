"""The commands of the runner, the hooks and the demo."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitdata.cli.shared import (
    Json,
    app,
    harmless_json,
    open_repo,
    say,
    say_always,
    show_records,
)
from gitdata.errors import FINDINGS, Mendable

TOLD = 20  # problems of one push

if TYPE_CHECKING:
    from gitdata.automation.jobs import Job
    from gitdata.commands.records import Record


@app.command()
def jobs(as_json: Json = False) -> None:
    """The runner's queue."""
    from gitdata.automation.jobs import Spool
    from gitdata.automation.runner import is_at_work
    from gitdata.report.tables import print_table

    repo = open_repo()
    found = Spool(repo.state).jobs()
    killed = any(job.state == "running" for job in found) and not is_at_work(repo)
    records = [_job_record(job, "interrupted" if killed and job.state == "running" else job.state) for job in found]
    rows = [[r.id, r["state"], ", ".join(r["refs"]), "; ".join(x["message"] for x in r["results"])] for r in records]
    show_records(records, as_json, lambda: print_table(("job", "state", "refs", "result"), rows))


@app.command()
def logs(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Its id, or the beginning or end of one.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only the records of epochs, one a line.")] = False,
) -> None:
    """What a job said; without a name the newest one."""
    from gitdata.automation.jobs import Spool
    from gitdata.automation.watch import follow_log
    from gitdata.report.progress import epoch_record, log_lines
    from gitdata.report.tables import printable

    spool = Spool(open_repo().state)
    for text in follow_log(spool, spool.job(job).id if job else spool.newest().id, follow=follow):
        if as_json:
            sys.stdout.writelines(f"{harmless_json(r)}\n" for line in text.splitlines() if (r := epoch_record(line)))
        else:
            sys.stdout.writelines(printable(line) for line in log_lines(text))
        sys.stdout.flush()


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or the beginning or end of one.")],
) -> None:
    """Stop a job. Nothing of it is published; the next push, or `gitdata run`, asks again."""
    from gitdata.automation import runner
    from gitdata.automation.jobs import Spool

    repo = open_repo()
    spool = Spool(repo.state)
    found = spool.job(job)
    if not runner.cancel(repo, found.id, repo.who):
        raise Mendable(f"The job {found.id} has ended already ({found.state}).", f"See `gitdata logs {found.id}`.")
    ended = spool.job(found.id).state == "failed"
    print(f"{found.id}: " + ("cancelled" if ended else "its training is being stopped"))


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="Work through the queue, then end.")] = False,
) -> None:
    """The runner: trains what jobs ask for. Hooks start it; without --once it is a server's worker."""
    from gitdata.automation.jobs import Spool
    from gitdata.automation.runner import run as work
    from gitdata.report.tables import plural

    repo = open_repo()
    done = work(repo, once=once)
    left = len(Spool(repo.state).ids("pending") + Spool(repo.state).ids("running"))
    print(f"{plural(done, 'job')} done" + (f"; another runner is at work on {plural(left, 'job')}" if left else ""))


@app.command()
def demo(folder: Annotated[Path | None, typer.Argument(metavar="[DIR]")] = None, as_json: Json = False) -> None:
    """The whole loop on real simulations, in a minute."""
    from gitdata.automation.demo import demo as play
    from gitdata.report.demo import print_demo

    records = play(folder, say_always if not as_json else say)
    show_records(records, as_json, lambda: print_demo(records))


@app.command(hidden=True)
def hook(name: str, arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """What the shims of hooks/ call."""
    if name == "pre-receive":
        _look_at_push(_lines())
        return
    if name != "pre-push":
        raise Mendable(f"There is no hook '{name}'.", "Install the hooks of this version: `gitdata install`.")
    from gitdata.commands.sync import push_refs

    remote, url = (arguments or ["", ""])[:2]
    push_refs(open_repo(), remote, url, _lines(), say_always)


def _lines() -> list[str]:
    """What git says on a hook's standard input; names of refs may be no text."""
    return sys.stdin.buffer.read().decode(errors="surrogateescape").split("\n")


def _look_at_push(lines: list[str]) -> None:
    """Tell the pusher what is wrong with a push, and refuse it."""
    from gitdata.commands.received.receive import receive

    found = list(islice(receive(open_repo(), lines), TOLD + 1))
    for ref, finding in found[:TOLD]:
        for line in (
            f"gitdata: {ref}: {finding.subject}",
            f"         {finding.problem}",
            f"         {finding.next_step}",
        ):
            say_always(line.replace("\n", "\N{REPLACEMENT CHARACTER}"))
    if found:
        more = "There is more. " if len(found) > TOLD else ""
        say_always(f"gitdata: {more}Nothing was pushed: this server takes all of a push, or nothing.")
        raise typer.Exit(FINDINGS)


def _job_record(job: Job, state: str) -> Record:
    from gitdata.commands.records import Record

    fields = {
        "log": f"gitdata logs {job.id}",
        "refs": list(job.refs),
        "results": job.record.get("results", []),
    }
    times = {key: job.record.get(key) for key in ("started", "finished")}
    return Record("job", job.id, {"state": state, **fields, **times})
