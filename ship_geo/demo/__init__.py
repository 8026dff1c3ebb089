"""A synthetic delivery like one of WorldView-2, and a run of the whole package on it with a quality table.

For trying the installation, for teaching, and for tests that need a scene with a known truth. Figures on it say that
everything works, not how well: the ground is drawn, not observed.
"""

from __future__ import annotations

from ship_geo.demo.run import run_demo
from ship_geo.demo.scene import DemoScene, make_scene

__all__ = ["DemoScene", "make_scene", "run_demo"]
