"""Watching: who looks on while a model is trained: the checkpoint that a killed run goes on from, and people."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gitdata.canonical import digest
from gitdata.commands.judge import rounded_all
from gitdata.commands.records import Record
from gitdata.commands.task import Task
from gitdata.data.choice import Decision
from gitdata.errors import Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.loop import Onlookers
    from gitdata.training.methods import Course
    from gitdata.training.monitor import Epoch

SETTING = "gitdata.checkpointseconds"
EVERY = 60.0  # seconds between two checkpoints

Tell = Callable[[Record], None]


def watch(task: Task, decision: Decision, live: frozenset[str], tell: Tell | None) -> Callable[[Course], Onlookers]:
    """Who looks on at each run of a task; `tell` is handed a record of every epoch."""
    from gitdata.training.checkpoint import Checkpoint
    from gitdata.training.loop import Onlookers
    from gitdata.training.monitor import Monitor

    every = _seconds(task.repo)

    def of(course: Course) -> Onlookers:
        path = folder(task.repo, task.model) / f"{decision.attempt[:16]}-{course.method}-{course.key[:8]}"
        key = digest([decision.attempt, sorted(decision.unseen), sorted(live), course.key])
        checkpoint = Checkpoint(path, key, every, task.say)
        if tell is None:
            return Onlookers(checkpoint=checkpoint)
        monitor = Monitor(course, lambda epoch: tell(_record(task, course, epoch)))
        return Onlookers(monitor.losses, monitor.weights, checkpoint)

    return of


def folder(repo: Repo, model: str) -> Path:
    """Where the checkpoints of a model's runs lie."""
    return repo.state / "checkpoints" / model


def forget(repo: Repo, model: str) -> None:
    """Remove the checkpoints of a model: what they were kept for is recorded."""
    shutil.rmtree(folder(repo, model), ignore_errors=True)


def _record(task: Task, course: Course, epoch: Epoch) -> Record:
    """`metric`: what the validation rows are measured by; a run that depends on them does so by its own loss."""
    fields = {**asdict(epoch), "model": task.model, "metric": "loss" if course.watched else task.declaration.metric}
    return Record("epoch", task.model, rounded_all(fields))


def _seconds(repo: Repo) -> float:
    value = repo.git.config(SETTING)
    try:
        seconds = EVERY if value is None else float(value)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise Mendable(f"gitdata.checkpointSeconds is '{value}', which is no number of seconds.", "As in 60.")
    return seconds
