"""Row digests: what tells that two rows are the same, in any format, dtype and order of columns.

The digest of a row over some fields is XXH3-128 over the concatenation of its values, fields in ascending order of
name; how a value becomes bytes is permanent and specified in `docs/format.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

BLOCK_BYTES = 1024 * 1024  # what fits a cache of the processor
_EXACT = 2**53
_TEXT_BYTES = 16
_NUMBER_BYTES = 8
_NAN = np.uint64(0x7FF8000000000000)


def digests(columns: Columns, fields: Sequence[str] | None = None) -> NDArray[np.uint64]:
    """Digests of all rows over `fields` (default: all): shape (rows, 2), the big-endian halves of the 128 bits."""
    names = sorted(columns if fields is None else fields)
    rows = len(next(iter(columns.values()))) if columns else 0
    arrays = [columns[name] for name in names]
    width = sum(_width(array) for array in arrays)
    block = max(1, BLOCK_BYTES // max(width, 1))
    result = np.empty((rows, 2), np.uint64)
    for start in range(0, rows, block):
        stop = min(start + block, rows)
        result[start:stop] = _hash_rows(_encode([array[start:stop] for array in arrays], stop - start, width))
    return result


def telling_fields(inputs: Sequence[str], outputs: Sequence[str], names: Collection[str]) -> tuple[str, ...]:
    """The fields that tell rows apart for duplicates and leaks, ascending: inputs and outputs; none for all fields.

    Without inputs every field that is no output is one; without outputs nobody said what may be left out.
    """
    fields = {*inputs, *outputs}
    return tuple(sorted(fields)) if inputs and outputs and fields < set(names) else ()


def index(digests: NDArray[np.uint64]) -> bytes:
    """The row index of a file: these first 64 bits of each digest, little-endian, in row order."""
    return digests.astype("<u8").tobytes()


def read_index(content: bytes) -> NDArray[np.uint64]:
    """What `index` wrote. Raises ValueError where it is no such thing."""
    return np.frombuffer(content, "<u8").astype(np.uint64)


def content(digests: NDArray[np.uint64]) -> str:
    """The digest of a file's rows in order: sha256 over their digests over all fields, 16 big-endian bytes each.

    `digests`: shape (rows, 2). It confirms what the 64 bits of the row index found.
    """
    return hashlib.sha256(digests.astype(">u8").tobytes()).hexdigest()


def fraction_mask(columns: Columns, fields: Sequence[str], fraction: float, salt: str) -> NDArray[np.bool_]:
    """Which rows fall into a part of size `fraction`, by hash of `fields`: equal values never part.

    Parts with different `salt` are independent of each other.
    """
    return in_fraction(digests(columns, fields)[:, 0], fraction, salt)


def in_fraction(digests: NDArray[np.uint64], fraction: float, salt: str) -> NDArray[np.bool_]:
    """Which rows fall into a part of size `fraction`, by the digests of the fields that decide."""
    keys = digests.astype(">u8").tobytes()
    suffix = salt.encode()
    hashes = (xxhash.xxh3_64_intdigest(keys[at : at + 8] + suffix) for at in range(0, len(keys), 8))
    return np.fromiter(hashes, np.uint64, len(keys) // 8) < np.uint64(fraction * 2**64)


def _width(array: NDArray[Any]) -> int:
    elements = int(np.prod(array.shape[1:], dtype=np.int64))
    return elements * (_TEXT_BYTES if array.dtype.kind in "OUT" else _NUMBER_BYTES)


def _encode(arrays: Sequence[NDArray[Any]], rows: int, width: int) -> NDArray[np.uint8]:
    """The values of some rows as bytes, field after field: shape (rows, width)."""
    words = np.empty((rows, width // _NUMBER_BYTES), np.uint64)
    start = 0
    for array in arrays:
        flat = array.reshape(rows, -1)
        stop = start + _width(array) // _NUMBER_BYTES
        if array.dtype.kind in "OUT":
            words[:, start:stop] = _encode_text(flat)
        elif array.dtype.kind in "iu":
            words[:, start:stop] = _integer_bits(flat)
        else:
            values = words.view(np.float64)[:, start:stop]
            with np.errstate(all="ignore"):
                np.add(flat, 0.0, out=values, dtype=np.float64)  # −0.0 + 0.0 is 0.0
                is_plain = np.isfinite(values.sum())  # mostly so, and asking each value takes time
            if not is_plain:
                words[:, start:stop][np.isnan(values)] = _NAN
        start = stop
    return words.astype("<u8", copy=False).view(np.uint8)


def _integer_bits(flat: NDArray[Any]) -> NDArray[np.uint64]:
    bits: NDArray[np.uint64] = flat.astype(np.float64).view(np.uint64)
    for row, column in np.argwhere((flat > _EXACT) | (flat < -_EXACT)):
        value = int(flat[row, column])
        if int(float(value)) != value:
            raw = value.to_bytes(8, "little", signed=value < 0)
            bits[row, column] = xxhash.xxh3_64_intdigest(raw)
    return bits


def _encode_text(flat: NDArray[Any]) -> NDArray[np.uint64]:
    """Each distinct text is hashed once: categories are many rows and few values."""
    values = flat.ravel().tolist()
    hashed = {value: xxhash.xxh3_128_digest(value.encode()) for value in set(values)}
    joined = b"".join(hashed[value] for value in values)
    return np.frombuffer(joined, "<u8").reshape(len(flat), -1)


def _hash_rows(encoded: NDArray[np.uint8]) -> NDArray[np.uint64]:
    hash_row = xxhash.xxh3_128_digest
    joined = b"".join(map(hash_row, encoded))  # rows of a contiguous array
    return np.frombuffer(joined, ">u8").astype(np.uint64).reshape(-1, 2)
