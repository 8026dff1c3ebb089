"""Judging a sharpened scene of any size: indices per tile, per band and in total, beside those of other methods.

Not for the indices themselves, see `ship_geo.metrics`. The convention that could surprise: a scene is read once, block
by block with the halo that the filters need, and every total is the same whatever the blocks and tiles are.
"""

from ship_geo.assessment.opening import assess_images
from ship_geo.assessment.scene import Options, assess_scene
from ship_geo.assessment.value import Assessment, Pixels, View

__all__ = ["Assessment", "Options", "Pixels", "View", "assess_images", "assess_scene"]
