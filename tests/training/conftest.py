"""JAX as gitdata's own processes set it up, and a strict one: shapes are never promoted by accident."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gitdata.automation.demo import DECLARATION, SOURCE
from gitdata.data import formats
from gitdata.training.declaration import Declaration, parse
from gitdata.training.environment import prepare

Columns = dict[str, np.ndarray]


@pytest.fixture(autouse=True, scope="session")
def strict_jax(plain_environment: None) -> None:
    prepare(Path(os.environ["GITDATA_COMPILE_CACHE"]))
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def lattice() -> Columns:
    """All lattice rows, in the order in which they were simulated."""
    return formats.read(SOURCE)


@pytest.fixture
def declare() -> Callable[..., Declaration]:
    """The demo's declaration with some words replaced."""

    def make(**replacements: str) -> Declaration:
        text = DECLARATION
        for old, new in replacements.items():
            assert old in text, old
            text = text.replace(old, new)
        return parse(text, "lattice")

    return make
