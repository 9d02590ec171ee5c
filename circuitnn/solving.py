"""Linear systems of circuit equations: rows of very different sizes, and mostly zeros where they are many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# From this size on, sparse elimination is faster than dense.
SPARSE_FROM = 300


def solve_scaled(system: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """The solution [n] or [n, k] of system x = right, with rows scaled: 1e-12 S stand beside gains of 1e5.

    Raises np.linalg.LinAlgError if the system is singular.
    """
    if len(system) < SPARSE_FROM:
        scale = np.abs(system).max(axis=1, initial=1e-300)
        return np.linalg.solve(system / scale[:, None], (right.T / scale).T)
    # Here, because a small circuit needs neither and loading them takes a while.
    from scipy.sparse import csr_array, diags_array
    from scipy.sparse.linalg import splu

    sparse = csr_array(system)
    scale = np.maximum(abs(sparse).max(axis=1).toarray().ravel(), 1e-300)
    try:
        factors = splu((diags_array(1.0 / scale) @ sparse).tocsc())
    except RuntimeError as error:
        raise np.linalg.LinAlgError(str(error)) from None
    found: NDArray[Any] = factors.solve((right.T / scale).T.astype(system.dtype))
    return found
