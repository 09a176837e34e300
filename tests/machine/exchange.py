"""What goes between clones and the server: pushes, fetches, blobs, and what is deleted of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from world import run

from machine.stage import DATASET, Stage, call

AGE = 30 * 24 * 3600  # seconds: older than what `prune` takes for the blobs of a running command


def push(stage: Stage, name: str) -> None:
    """`git push`, whose hook uploads: refused, and the server as it was, unless every blob can be had."""
    if name not in stage.tips(stage.here, "refs/heads"):
        return
    before = stage.tips(stage.server, "refs/heads")
    tip = stage.here.git("rev-parse", name)
    old = before.get(name)
    forward = old is None or run("git", "merge-base", "--is-ancestor", old, tip, cwd=stage.here.path).code == 0
    new = stage.here.git("rev-list", tip, *(["--not", old] if old and forward else [])).split()
    at_hand = all(stage.places(blob) for commit in {*new, tip} for blob in stage.blobs(stage.here, commit))
    done = run("git", "push", "--quiet", "origin", f"{name}:{name}", cwd=stage.here.path)
    assert "Traceback" not in done.err, done
    assert (done.code == 0) == (forward and (at_hand or old == tip)), done
    assert stage.tips(stage.server, "refs/heads") == (before | {name: tip} if done.code == 0 else before)


def upload(stage: Stage) -> None:
    """`gitdata push`: the blobs of what is live."""
    view = stage.view
    blobs = stage.blobs(stage.here, "HEAD", view.live) if not view.missing else set()
    done = call(stage.here.path, "push")
    at_hand = all(stage.places(blob) for blob in blobs)
    assert done.code == (0 if at_hand and not view.missing else 4), done
    assert done.code or all(stage.in_store(blob) for blob in blobs)


def fetch(stage: Stage) -> None:
    stage.here.git("fetch", "--quiet", "origin")


def bring(stage: Stage) -> None:
    """`gitdata fetch`: the blobs of what is live are here, or one is nowhere."""
    view = stage.view
    blobs = stage.blobs(stage.here, "HEAD", view.live) if not view.missing else set()
    done = call(stage.here.path, "fetch")
    at_hand = all(stage.places(blob) for blob in blobs)
    assert done.code == (0 if at_hand and not view.missing else 4), done
    assert done.code or all(stage.in_cache(stage.here, blob) for blob in blobs)


def prune(stage: Stage, *, old: bool, remote: bool) -> None:
    """Of what history names nothing is lost, and what is live on a branch of this clone stays here."""
    if old:
        _age(stage.here.path / ".dvc" / "cache")
        _age(stage.server.path / "gitdata")
    views = [(tip, stage.view_of(stage.here, tip)) for tip in stage.tips(stage.here, "refs/heads").values()]
    whole = not any(view.missing for _, view in views)
    live = {b for tip, view in views for b in stage.blobs(stage.here, tip, view.live if whole else ())}
    here = {blob for blob in live if stage.in_cache(stage.here, blob)}
    named = {
        b
        for place in (stage.here, stage.server)
        for c in place.git("rev-list", "--all").split()
        for b in stage.blobs(place, c)
    }
    had = {blob for blob in named if stage.places(blob)}
    done = call(stage.here.path, "prune", *(["--remote"] if remote else []))
    assert done.code == (0 if whole else 4), done
    assert all(stage.in_cache(stage.here, blob) for blob in here)
    assert all(stage.places(blob) for blob in had)


def look(stage: Stage) -> None:
    """`checkout --union` writes the rows in the order that is documented, and over nothing that somebody changed."""
    if not stage.is_usable or not (expected := stage.view.union("train")):
        return
    stage.count += 1
    path = stage.root / f"union-{stage.count}.csv"
    command = ["checkout", DATASET, "--union", path, "--copy", "--split", "train"]
    assert stage.records("union", command)
    rows = [tuple(map(float, line.split(","))) for line in path.read_text().splitlines()[1:]]
    assert rows == expected
    written = path.read_bytes()
    assert stage.records("union", command)
    assert path.read_bytes() == written
    path.write_bytes(written + b"0\n")
    stage.refused(2, *command)


def _age(folder: Path) -> None:
    then = time.time() - AGE
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
