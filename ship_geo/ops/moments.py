"""Count, mean and covariance of a stack of variables, merged exactly from parts.

For everything that is a regression over a scene which does not fit into memory: injection gains, band weights,
error indices. Not for histograms or robust statistics. The convention that could surprise: the covariance is the
population's (divided by the count), and every part is centred on its own mean before it is merged, so that 16-bit
values lose no digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ship_geo.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_TABLE = 2
"""Axes of a table of samples."""


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of `n` variables over a set of samples.

    Attributes
    ----------
    count
        Number of samples.
    mean
        (n,) float64, unit of the variables; zero where there is no sample.
    cov
        (n, n) float64 population covariance; zero where there is no sample.
    """

    count: float
    mean: NDArray[np.float64]
    cov: NDArray[np.float64]

    @classmethod
    def empty(cls, n_variable: int) -> Moments:
        """Moments of no samples: the neutral element of `merge`."""
        return cls(0.0, np.zeros(n_variable), np.zeros((n_variable, n_variable)))

    @classmethod
    def from_samples(cls, values: ArrayLike) -> Moments:
        """Measure samples that are in memory, in two passes.

        Parameters
        ----------
        values
            (variable, sample), any real dtype, all finite.

        Raises
        ------
        ArgumentError
            If `values` has not two axes.
        """
        table = np.asarray(values, dtype=np.float64)
        if table.ndim != _TABLE:
            msg = f"samples come as (variable, sample), got shape {table.shape}; flatten the pixels first"
            raise ArgumentError(msg)
        count = table.shape[1]
        if count == 0:
            return cls.empty(table.shape[0])
        mean = table.mean(axis=1)
        centred = table - mean[:, None]
        return cls(float(count), mean, centred @ centred.T / count)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of samples together.

        Raises
        ------
        ArgumentError
            If the numbers of variables differ.

        References
        ----------
        T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979, eq. 2.1, extended to covariances.
        """
        if self.mean.shape != other.mean.shape:
            msg = (
                f"merged moments have the same variables, got {self.mean.size} and {other.mean.size}; "
                "stack the same variables in every part"
            )
            raise ArgumentError(msg)
        count = self.count + other.count
        if count == 0:
            return self
        share = other.count / count
        step = other.mean - self.mean
        between = share * (1 - share) * np.outer(step, step)
        return Moments(count, self.mean + share * step, (1 - share) * self.cov + share * other.cov + between)

    def select(self, indices: Sequence[int]) -> Moments:
        """Moments of some of the variables, in the order of `indices`."""
        chosen = np.asarray(indices, dtype=np.intp)
        return Moments(self.count, self.mean[chosen], self.cov[np.ix_(chosen, chosen)])

    def project(self, matrix: ArrayLike) -> Moments:
        """Moments of the linear combinations ``matrix @ variables``; `matrix` is (new variable, variable)."""
        rows = np.asarray(matrix, dtype=np.float64)
        return Moments(self.count, rows @ self.mean, rows @ self.cov @ rows.T)

    @property
    def var(self) -> NDArray[np.float64]:
        """(n,) population variances."""
        return self.cov.diagonal()

    @property
    def std(self) -> NDArray[np.float64]:
        """(n,) population standard deviations."""
        return np.sqrt(self.var)
