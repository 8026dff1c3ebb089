"""Classical pan-sharpening: a `fit_*` that turns scene moments into a few numbers, and a pointwise `apply_*`.

The floor that a network has to beat, and the comparison in every quality report. Not for iterative or segmented
methods. The convention that could surprise: coefficients are the scene's, fitted once from one `Moments` over the
variables of `StackLayout`; applying them is pointwise, so any tiling gives the same pixels.
"""

from __future__ import annotations

from ship_geo.baselines.brovey import BroveyCoefficients, apply_brovey, fit_brovey
from ship_geo.baselines.exp import ExpCoefficients, apply_exp, fit_exp
from ship_geo.baselines.gsa import GsaCoefficients, apply_gsa, fit_gsa
from ship_geo.baselines.layout import StackLayout
from ship_geo.baselines.mtf_glp import (
    GlpFsCoefficients,
    GlpHpmCoefficients,
    apply_glp_fs,
    apply_glp_hpm,
    fit_glp_fs,
    fit_glp_hpm,
)
from ship_geo.baselines.registry import METHODS, Method, get_method

__all__ = [
    "METHODS",
    "BroveyCoefficients",
    "ExpCoefficients",
    "GlpFsCoefficients",
    "GlpHpmCoefficients",
    "GsaCoefficients",
    "Method",
    "StackLayout",
    "apply_brovey",
    "apply_exp",
    "apply_glp_fs",
    "apply_glp_hpm",
    "apply_gsa",
    "fit_brovey",
    "fit_exp",
    "fit_glp_fs",
    "fit_glp_hpm",
    "fit_gsa",
    "get_method",
]
