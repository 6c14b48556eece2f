"""Scores of DensePose predictions: geodesic point similarity, masks and boxes, from plain files."""
