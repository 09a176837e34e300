"""Wire: messages between a process and the one it started: fields as JSON, and columns. Nothing in them is executed.

A message is its two lengths, a JSON document, and the numbers of the columns as safetensors; text is in the document.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Columns = Mapping[str, NDArray[Any]]

_LENGTHS = struct.Struct("<QQ")
_TEXT = "text of columns"


def send(stream: IO[bytes], fields: Mapping[str, Any], columns: Columns | None = None) -> None:
    """Write one message."""
    columns = columns or {}
    texts = {name: c for name, c in columns.items() if c.dtype.kind in "OUT"}
    numbers = {name: np.ascontiguousarray(c).reshape(c.shape) for name, c in columns.items() if name not in texts}
    written = {name: {"shape": c.shape, "values": c.ravel().tolist()} for name, c in texts.items()}
    document = json.dumps({**fields, _TEXT: written}).encode()
    body = save(numbers)
    stream.write(_LENGTHS.pack(len(document), len(body)))
    stream.write(document)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one message. Raises EOFError where the other side is gone."""
    document_length, body_length = _LENGTHS.unpack(_read(stream, _LENGTHS.size))
    fields = json.loads(_read(stream, document_length))
    columns = dict(load(_read(stream, body_length)))
    for name, text in fields.pop(_TEXT).items():
        columns[name] = np.array(text["values"], dtype=object).reshape(text["shape"])
    return fields, columns


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise EOFError("the other process is gone")
    return content
