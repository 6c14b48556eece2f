"""The step counts of DensePose coordinates as plain numbers, for code that needs no torch."""

from __future__ import annotations

# DensePose-COCO stores points and part masks on a 256-step grid over the box. Released *metrics*
# divide by 255; evaluation uses METRIC_GRID to stay comparable with them, training divides by 256.
ANNOTATION_GRID = 256.0
METRIC_GRID = 255.0
# U and V are stored and compared as whole steps of 1 / 255.
UV_STEPS = 255.0
