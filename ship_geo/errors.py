"""Every error that ship_geo raises on purpose.

ShipGeoError
├── ArgumentError (also ValueError)   a call was made with values that cannot work
│   └── GridError                     PAN and MS grids do not fit each other
├── ProductError                      a file or delivery cannot be opened, read or understood
├── CheckpointError                   weights are missing, corrupt or of another network
└── OutputError                       the output cannot be written, or exists already

Messages read ``<rule>, got <values>; <remedy>``. Programming errors stay plain ``TypeError`` or ``AssertionError``.
"""

from __future__ import annotations


class ShipGeoError(Exception):
    """Base of all errors of this package; the command line prints its message and exits with code 1."""


class ArgumentError(ShipGeoError, ValueError):
    """An argument has a value that cannot work; the command line exits with code 2."""


class GridError(ArgumentError):
    """PAN and MS grids do not fit each other."""


class ProductError(ShipGeoError):
    """A file or delivery cannot be opened, read or understood."""


class CheckpointError(ShipGeoError):
    """Network weights are missing, corrupt or belong to another network."""


class OutputError(ShipGeoError):
    """The output cannot be written, or would replace something that must stay."""
