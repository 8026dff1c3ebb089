"""The classical methods by name.

For reports, the command line and the engine, which need a method as data. Not a plug-in system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from torch import Tensor

from ship_geo.baselines.bdsd_pc import apply_bdsd_pc, fit_bdsd_pc
from ship_geo.baselines.brovey import apply_brovey, fit_brovey
from ship_geo.baselines.bt_h import apply_bt_h, fit_bt_h
from ship_geo.baselines.exp import apply_exp, fit_exp
from ship_geo.baselines.gsa import apply_gsa, fit_gsa
from ship_geo.baselines.layout import SceneMeasures
from ship_geo.baselines.mtf_glp import apply_glp_fs, apply_glp_hpm, fit_glp_fs, fit_glp_hpm, fit_glp_hpm_r
from ship_geo.errors import ArgumentError
from ship_geo.ops.moments import Moments

C = TypeVar("C")


@dataclass(frozen=True)
class Method(Generic[C]):
    """A classical method.

    Attributes
    ----------
    name
        Key in `METHODS`.
    title
        Name for people.
    fit
        What one pass over the scene tells of it -> coefficients.
    apply
        (ms_up, pan, pan_low, coefficients) -> fused, all DN; (..., band, row, col).
    citation
        Where the method was published.
    reads_pan_low
        Whether `apply` looks at `pan_low`; else it may be anything.
    """

    name: str
    title: str
    fit: Callable[[SceneMeasures], C]
    apply: Callable[[Tensor, Tensor, Tensor, C], Tensor]
    citation: str
    reads_pan_low: bool = False


def _from_moments(fit: Callable[[Moments], C]) -> Callable[[SceneMeasures], C]:
    """Make a fit of one that looks at the moments at PAN scale alone."""
    return lambda measures: fit(measures.moments)


_ALL: tuple[Method[Any], ...] = (
    Method("exp", "EXP (interpolated MS)", _from_moments(fit_exp), apply_exp, "Aiazzi et al. 2002, IEEE TGRS 40(10)"),
    Method(
        "brovey",
        "Weighted Brovey",
        _from_moments(fit_brovey),
        apply_brovey,
        "Gillespie et al. 1987, Remote Sensing of Environment 22(3)",
    ),
    Method("bt-h", "Brovey with haze correction (BT-H)", fit_bt_h, apply_bt_h, "Lolli et al. 2017, IEEE GRSL 14(12)"),
    Method(
        "gsa", "Adaptive Gram-Schmidt (GSA)", _from_moments(fit_gsa), apply_gsa, "Aiazzi et al. 2007, IEEE TGRS 45(10)"
    ),
    Method(
        "bdsd-pc",
        "Band-dependent spatial detail, constrained (BDSD-PC)",
        fit_bdsd_pc,
        apply_bdsd_pc,
        "Vivone 2019, IEEE TGRS 57(9)",
    ),
    Method(
        "mtf-glp-fs",
        "MTF-GLP-FS",
        _from_moments(fit_glp_fs),
        apply_glp_fs,
        "Vivone et al. 2018, IEEE TIP 27(7)",
        reads_pan_low=True,
    ),
    Method(
        "mtf-glp-hpm",
        "MTF-GLP-HPM",
        _from_moments(fit_glp_hpm),
        apply_glp_hpm,
        "Aiazzi et al. 2006, PE&RS 72(5)",
        reads_pan_low=True,
    ),
    Method(
        "mtf-glp-hpm-r",
        "MTF-GLP-HPM-R (regression)",
        _from_moments(fit_glp_hpm_r),
        apply_glp_hpm,
        "Vivone et al. 2018, IEEE TGRS 56(2)",
        reads_pan_low=True,
    ),
)

METHODS: Mapping[str, Method[Any]] = MappingProxyType({method.name: method for method in _ALL})
"""Every classical method by name."""


def get_method(name: str) -> Method[Any]:
    """Look a method up, ignoring case.

    Raises
    ------
    ArgumentError
        If there is no such method; the message lists those there are.
    """
    try:
        return METHODS[name.lower()]
    except KeyError:
        msg = f"a classical method is one of {', '.join(METHODS)}, got {name!r}; choose one of them"
        raise ArgumentError(msg) from None


def method_names(names: Sequence[str]) -> list[str]:
    """Return the names of methods as `METHODS` writes them, each once.

    Raises
    ------
    ArgumentError
        If one is not known, or a single text is given.
    """
    if isinstance(names, str):
        msg = f"classical methods come as a list of names, got {names!r}; write [{names!r}]"
        raise ArgumentError(msg)
    return list(dict.fromkeys(get_method(name).name for name in names))
