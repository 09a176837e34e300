"""The compiler under us computes what was asked: jax 0.10.2 does not (docs/decisions/001)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("rows", [1_000, 16_385, 32_769, 100_003])
def test_a_vmapped_matrix_vector_product_is_compiled_right(rows: int) -> None:
    """jax#39103: under jit on CPU the last rows of this came out wrong by up to 0.8 % with jaxlib 0.10.2."""
    steps = np.arange(rows, dtype=np.float32)
    points = np.stack((steps, np.zeros_like(steps), np.zeros_like(steps)), axis=1)
    matrix = jnp.eye(3, dtype=jnp.float32)
    compiled = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))
    np.testing.assert_allclose(np.asarray(compiled(points)), steps.astype(np.float64) ** 2, rtol=1e-6)


def test_the_excluded_version_is_not_installed() -> None:
    assert jax.__version__ != "0.10.2"
