"""Losses of the DensePose branch: packed, without loops over instances or points."""

from .chart import DensePoseChartLoss, DensePoseChartWithConfidenceLoss

__all__ = ["DensePoseChartLoss", "DensePoseChartWithConfidenceLoss"]
