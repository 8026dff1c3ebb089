"""A scene: one PAN / MS pair with all that is known of it, ready to be read by blocks.

`open_scene` finds the files, reads the metadata and a small sample of the pixels, and checks that the pair can be
sharpened; it opens nothing heavy. What it decided is kept in the `Scene` and told by `Scene.describe`.
"""

from ship_geo.products.layers import Layer
from ship_geo.raster import BandRef
from ship_geo.scene.opening import SceneOptions, build_scene, fit_sensor, open_scene
from ship_geo.scene.value import Scene

__all__ = ["BandRef", "Layer", "Scene", "SceneOptions", "build_scene", "fit_sensor", "open_scene"]
