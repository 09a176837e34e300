"""Trial: no version is published that a fresh process does not find to be what was judged."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gitdata.errors import GitdataError
from gitdata.storage.process import scrubbed_environment

if TYPE_CHECKING:
    from gitdata.commands.rowsource import AnyColumns

RELATIVE = 1e-4  # two processes may round differently, where their devices do
ABSOLUTE = 1e-6


class Trial:
    """A process that waits for a package to measure; whoever loses the race for the ledger asks another one again."""

    def __init__(self, compile_cache: Path | None, errors: IO[bytes], *, python: bool = False) -> None:
        self._command = [sys.executable, "-P", "-m", "gitdata.training.trial", str(compile_cache or "")]
        self._errors, self._was_asked, self._python = errors, False, python
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        environment = scrubbed_environment({})
        return subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=self._errors, env=environment)

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]  # both are pipes
        self._process.wait()

    def require(
        self, model: str, declaration: str, files: Mapping[str, bytes], rows: AnyColumns, metrics: Mapping[str, Any]
    ) -> None:
        """Raises GitdataError unless the package in `files` has these `metrics` on some rows, as that process sees it.

        `declaration`: the text of the model file.
        """
        if self._was_asked:
            self.end()
            self._process = self._started()
        self._was_asked = True
        try:
            found = self._measure(model, declaration, files, rows)
        except (EOFError, BrokenPipeError) as error:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise _unfit(model, f"the fresh process that was to use it died: {last[0]}") from error
        asked = {name: value for name, value in metrics.items() if name != "extensions"}  # of the same answers
        if different := first_difference(asked, found):
            raise _unfit(model, different)

    def _measure(self, model: str, declaration: str, files: Mapping[str, bytes], rows: AnyColumns) -> Mapping[str, Any]:
        import numpy as np

        from gitdata.training import wire
        from gitdata.training.blocks import Blocks, sizes_of

        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        about = {
            "declaration": declaration,
            "model": model,
            "names": list(rows),
            "python": self._python,
            "sizes": sizes_of(rows) if rows else (),
        }
        wire.send(to, about, {name: np.frombuffer(content, np.uint8) for name, content in files.items()})
        while True:
            answer, _ = wire.receive(back)
            if "error" in answer:
                raise _unfit(model, f"a fresh process could not use it: {answer['error']}")
            if "metrics" in answer:
                return dict(answer["metrics"])
            blocks = rows.strands[answer["strand"]].read() if isinstance(rows, Blocks) else iter([rows])
            for block in blocks:
                wire.send(to, {}, block)


@contextmanager
def waiting_trial(compile_cache: Path | None, *, python: bool = False) -> Iterator[Trial]:
    """A trial that is being prepared beside what this process does; it ends with the block.

    `python`: Python of model files may run there.
    """
    with tempfile.TemporaryFile() as errors:
        trial = Trial(compile_cache, errors, python=python)
        try:
            yield trial
        finally:
            trial.end()


def first_difference(recorded: Any, found: Any, name: str = "metrics", where: str = "in a fresh process") -> str | None:
    """Where metrics that should be the same are not; None where they are, but for rounding. `where` they were found."""
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        if recorded.keys() != found.keys():
            return f"{where} other things were measured ({', '.join(sorted(recorded.keys() ^ found.keys()))})"
        inner = (first_difference(recorded[key], found[key], f"{name}.{key}", where) for key in recorded)
        return next((difference for difference in inner if difference), None)
    if isinstance(recorded, list | tuple) and isinstance(found, list | tuple) and len(recorded) == len(found):
        inner = (first_difference(own, other, name, where) for own, other in zip(recorded, found, strict=True))
        return next((difference for difference in inner if difference), None)
    if isinstance(recorded, float | int) and isinstance(found, float | int):
        if math.isclose(recorded, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (
            recorded != recorded and found != found
        ):
            return None
        return f"{name} was {recorded:.6g}, {where} it is {found:.6g}"
    return None if recorded == found else f"{name} was {recorded}, {where} it is {found}"


def _unfit(model: str, why: str) -> GitdataError:
    return GitdataError(
        f"The new version of '{model}' is not what was tested: {why}.",
        "Nothing was published, the champion stays. This is a bug in gitdata or below it: please report it.",
    )
