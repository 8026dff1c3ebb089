"""Blocks of pairs for everything that looks at pixels: readers, datasets, samplers and simulated training pairs.

Nothing is imported here, so that a reader of files costs neither torch nor torchgeo.
"""
