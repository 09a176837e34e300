"""Trial: a fresh process loads a package from its bytes and measures it, as whoever will use it would find it.

It is started while the training goes on, sets JAX up meanwhile, and waits for the package on its standard input. Test
rows are sent to it when it asks for them, strand by strand: they need not fit memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from gitdata.errors import GitdataError
from gitdata.training import wire
from gitdata.training.blocks import Blocks, Strand

Columns = Mapping[str, NDArray[Any]]


def main() -> None:
    """Measure one package; end quietly when there is none to come."""
    from gitdata.training.environment import prepare

    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    prepare(Path(sys.argv[1]) if sys.argv[1] else None)
    from gitdata.training import metrics, package, python
    from gitdata.training.declaration import parse

    try:
        fields, files = wire.receive(asked)
    except EOFError:
        return
    if fields.get("python"):
        python.allow()
    try:
        found = package.decode({name: content.tobytes() for name, content in files.items()})
        rows = _rows(fields["names"], fields["sizes"], asked, answers)
        measured = metrics.measure(found, rows, parse(fields["declaration"], fields["model"])) if rows else {}
    except GitdataError as error:
        wire.send(answers, {"error": error.message})
    else:
        wire.send(answers, {"metrics": measured})


def _rows(names: list[str], sizes: list[list[int]], asked: IO[bytes], answers: IO[bytes]) -> Columns:
    """The test rows: in memory where they are one block, else asked for again whenever they are needed."""

    def read(number: int) -> Iterator[Columns]:
        wire.send(answers, {"strand": number})
        for _ in sizes[number]:
            yield wire.receive(asked)[1]

    blocks = Blocks(tuple(names), tuple(Strand(tuple(own), partial(read, n)) for n, own in enumerate(sizes)))
    return next(blocks.blocks()) if sum(map(len, sizes)) == 1 else blocks


if __name__ == "__main__":
    main()
