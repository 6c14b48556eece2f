"""Evaluation as detectron2 drives it: predictions stream to disk, the main process scores them."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .evaluate import evaluate_densepose
from .matching import MAX_DETECTIONS, Protocol, Quirks
from .prediction_file import PredictionWriter, prediction_paths
from .result import EvaluationResult

if TYPE_CHECKING:
    from detectron2.structures import Instances

logger = logging.getLogger(__name__)

PREDICTIONS_DIR = "predictions"
RESULT_FILE = "densepose_evaluation.json"
TABLE_FILE = "densepose_evaluation.md"


class DensePoseEvaluator(DatasetEvaluator):
    """Scores a model on a DensePose-COCO set, in one or several processes.

    Every process writes its predictions into one folder below ``output_dir``, which all of them
    must see; ``evaluate`` reads it back in the main process. The folder is emptied at each
    ``reset``, so predictions of an earlier run never count.
    """

    def __init__(
        self,
        to_prediction: Callable[[Instances, int], ImagePrediction],
        ground_truth: str | os.PathLike[str],
        surface: EvaluationSurface | Callable[[], EvaluationSurface],
        output_dir: str | os.PathLike[str],
        *,
        quirks: Quirks = "upstream",
        min_threshold: float = 0.5,
        max_detections: int = MAX_DETECTIONS,
        detection_scores: bool = True,
        protocol: Protocol = "multi",
        image_ids: Collection[int] | None = None,
        category_id: int | Collection[int] | None = None,
    ) -> None:
        """Remember what to score; nothing is read or written yet.

        Args:
            to_prediction: (instances on CPU, image id) -> prediction.
            ground_truth: path of the annotation file.
            surface: the surface of the annotations, or a function that makes it: it is called in
                the main process, when the first scores are wanted.
            output_dir: folder for predictions, ``densepose_evaluation.json`` and ``.md``.
            quirks: see ``evaluate_densepose``, as for the following.
            min_threshold: smallest similarity threshold.
            max_detections: detections of an image that count for the DensePose tables.
            detection_scores: score boxes and masks too.
            protocol: "single" for predictions that are made for the annotated boxes.
            image_ids: score these images only.
            category_id: see ``evaluate_densepose``.
        """
        self._ground_truth = ground_truth
        self._surface = surface
        self._to_prediction = to_prediction
        self._output_dir = Path(output_dir)
        self._options = {
            "quirks": quirks,
            "min_threshold": min_threshold,
            "max_detections": max_detections,
            "detection_scores": detection_scores,
            "protocol": protocol,
            "image_ids": image_ids,
            "category_id": category_id,
        }
        self._writer: PredictionWriter | None = None
        self._written: set[str] = set()
        self.result: EvaluationResult | None = None

    def reset(self) -> None:
        """Empty the folder of predictions; all processes wait until that is done."""
        folder = self._output_dir / PREDICTIONS_DIR
        if comm.is_main_process():
            gone = PredictionWriter(folder).clear()
            if gone:
                logger.info("removed %d predictions of an earlier evaluation in %s", gone, folder)
        comm.synchronize()
        self._writer = PredictionWriter(folder)
        self._written = set()
        self.result = None

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write the predictions of some images.

        Args:
            inputs: what the model was given; "image_id" is used.
            outputs: what it returned; "instances" after post-processing is used.

        Raises:
            RuntimeError: ``reset`` was not called.
        """
        if self._writer is None:
            raise RuntimeError("call reset() before process(), as inference_on_dataset does")
        for given, output in zip(inputs, outputs, strict=True):
            instances = output["instances"].to("cpu")
            path = self._writer.write(self._to_prediction(instances, given["image_id"]))
            self._written.add(path.name)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Score everything in the main process.

        Returns:
            densepose_gps, densepose_gpsm, densepose_iou, bbox and segm (and mask_branch and
            keypoints of models with such branches) with percentages, and densepose_points with
            shares in [0, 1]; {} in the other processes. ``result`` then holds all details, and
            ``output_dir`` the same as JSON and as a table.

        Raises:
            RuntimeError: ``reset`` was not called, or predictions of other processes are not there.
        """
        if self._writer is None:
            raise RuntimeError("call reset() before evaluate(), as inference_on_dataset does")
        written = frozenset().union(*comm.gather(self._written))
        if not comm.is_main_process():
            return OrderedDict()
        folder = self._writer.folder
        missing = written - {path.name for path in prediction_paths(folder)}
        if missing:
            raise RuntimeError(
                f"{folder}: {len(missing)} of {len(written)} predictions that were written are not"
                " there; the output folder must be one that all processes share"
            )
        if callable(self._surface):
            self._surface = self._surface()
        self.result = evaluate_densepose(self._ground_truth, folder, self._surface, **self._options)
        table = self.result.to_table()
        self.result.write_json(self._output_dir / RESULT_FILE)
        (self._output_dir / TABLE_FILE).write_text(table, encoding="utf-8")
        logger.info("DensePose scores on %s\n%s", self._ground_truth, table)
        return as_detectron2_results(self.result)


def as_detectron2_results(result: EvaluationResult) -> OrderedDict[str, dict[str, float]]:
    """Tables in the form of ``detectron2.evaluation.print_csv_format`` and its loggers."""
    results = OrderedDict((name, dict(row)) for name, row in result.tables.items())
    results["densepose_points"] = dict(result.points)
    return results
