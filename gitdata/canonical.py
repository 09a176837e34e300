"""Canonical JSON and the digests over it: the one byte encoding from which every id is computed."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON with sorted keys, no insignificant space and no NaN: equal values, equal bytes.

    Raises ValueError for NaN or infinity and TypeError for what JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(value: Any) -> str:
    """The sha256 of `canonical_json(value)`, as 64 lower-case hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def readable_json(value: Any) -> bytes:
    """The encoding of files that people read in git: sorted keys, two-space indent, one final newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"
