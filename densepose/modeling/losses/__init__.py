"""Losses of the DensePose branch: packed, without loops over people or points."""

from .chart import DensePoseChartLoss
from .chart_with_confidence import DensePoseChartWithConfidenceLoss

__all__ = ["DensePoseChartLoss", "DensePoseChartWithConfidenceLoss"]
