"""The choices that an evaluation leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .matching import MAX_DETECTIONS, PROTOCOLS, QUIRKS, Protocol, Quirks, similarity_thresholds
from .pairs import ORACLES, Oracle


@dataclass(frozen=True, kw_only=True)
class ScoringRules:
    """How predictions are scored; the defaults are those of published tables."""

    # "upstream" gives the numbers of detectron2's evaluator (the published ones) to the last digit;
    # "fixed" repairs what is plainly wrong there, see ``match_images``, ``GroundTruth``,
    # ``crops_in_image`` and ``detections_to_keep``.
    quirks: Quirks = "upstream"
    # Replace parts of the predictions by the truth, see ``PointScorer``.
    oracle: Oracle = "none"
    # Smallest similarity threshold of AP and AR in the DensePose tables.
    min_threshold: float = 0.5
    # Best detections of an image that count for the DensePose tables.
    max_detections: int = MAX_DETECTIONS
    # Add the tables with the paper's kappa of 0.255 m for all parts.
    paper_kappa: bool = False
    # "multi" for predictions of a whole system, "single" for those made for the annotated boxes,
    # see ``match_by_box``; matters to all numbers but AP and AR.
    protocol: Protocol = "multi"
    # Add box and mask AP of COCO, and AP of mask and keypoint branches.
    detection_scores: bool = True

    def __post_init__(self) -> None:
        for name, known in (("quirks", QUIRKS), ("oracle", ORACLES), ("protocol", PROTOCOLS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be in {known}, got {getattr(self, name)!r}")
        if self.max_detections < 1:
            raise ValueError(f"max_detections must be 1 or more, got {self.max_detections}")
        _ = self.thresholds  # checks the smallest

    @property
    def thresholds(self) -> np.ndarray:
        """(T,) thresholds from the smallest one to 0.95."""
        return similarity_thresholds(self.min_threshold)
