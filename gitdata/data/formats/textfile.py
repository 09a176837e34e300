"""Text files: what must hold of one before its lines are worth parsing."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from gitdata.errors import Mendable

PIECE = 1 << 20
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def pieces(path: Path, kind: str) -> Iterator[bytes]:
    """A file piece by piece, the whole of it checked: UTF-8, without NUL bytes. Raises Mendable naming the line.

    `kind` is what the file claims to be. A file written in two encodings is found wherever the second begins.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 1
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            if lines == 1 and piece.startswith(_UTF16):
                raise Mendable(f"'{path}' is UTF-16, not UTF-8.", "Convert it to UTF-8.")
            if b"\0" in piece:
                line = lines + piece[: piece.index(b"\0")].count(b"\n")
                raise Mendable(f"'{path}' holds NUL bytes (line {line}): it is no {kind} file.", "Nothing was changed.")
            _check(decoder, piece, path, lines)
            lines += piece.count(b"\n")
            yield piece
    _check(decoder, b"", path, lines, final=True)


def check(path: Path, kind: str) -> None:
    """Read a file through for what `pieces` finds."""
    for _ in pieces(path, kind):
        pass


def _check(decoder: codecs.IncrementalDecoder, piece: bytes, path: Path, lines: int, *, final: bool = False) -> None:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        line = lines + error.object[: error.start].count(b"\n")
        raise Mendable(
            f"'{path}' is not UTF-8 text in line {line}; it may be written in several encodings.",
            "Convert it to UTF-8.",
        ) from error
