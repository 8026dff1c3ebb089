"""Classical pan-sharpening: a `fit_*` that turns scene moments into a few numbers, and a pointwise `apply_*`.

The floor that a network has to beat, and the comparison in every quality report. Not for iterative or segmented
methods. The convention that could surprise: coefficients are the scene's, fitted once from the `SceneMeasures` of
one pass over it; applying them is pointwise, so any tiling gives the same pixels.
"""

from __future__ import annotations

from ship_geo.baselines.bdsd_pc import BdsdPcCoefficients, apply_bdsd_pc, fit_bdsd_pc
from ship_geo.baselines.brovey import BroveyCoefficients, apply_brovey, fit_brovey
from ship_geo.baselines.bt_h import BtHCoefficients, apply_bt_h, fit_bt_h
from ship_geo.baselines.exp import ExpCoefficients, apply_exp, fit_exp
from ship_geo.baselines.gsa import GsaCoefficients, apply_gsa, fit_gsa
from ship_geo.baselines.layout import SceneMeasures, StackLayout
from ship_geo.baselines.mtf_glp import (
    GlpFsCoefficients,
    GlpHpmCoefficients,
    apply_glp_fs,
    apply_glp_hpm,
    fit_glp_fs,
    fit_glp_hpm,
    fit_glp_hpm_r,
)
from ship_geo.baselines.registry import METHODS, Method, get_method

__all__ = [
    "METHODS",
    "BdsdPcCoefficients",
    "BroveyCoefficients",
    "BtHCoefficients",
    "ExpCoefficients",
    "GlpFsCoefficients",
    "GlpHpmCoefficients",
    "GsaCoefficients",
    "Method",
    "SceneMeasures",
    "StackLayout",
    "apply_bdsd_pc",
    "apply_brovey",
    "apply_bt_h",
    "apply_exp",
    "apply_glp_fs",
    "apply_glp_hpm",
    "apply_gsa",
    "fit_bdsd_pc",
    "fit_brovey",
    "fit_bt_h",
    "fit_exp",
    "fit_glp_fs",
    "fit_glp_hpm",
    "fit_glp_hpm_r",
    "fit_gsa",
    "get_method",
]
