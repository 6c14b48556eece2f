"""Evaluation as detectron2 drives it: every process scores the images that it predicts."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from densepose.files import write_text
from densepose.structures.prediction import ImagePrediction
from densepose.surface.evaluation_surface import EvaluationSurface

from .evaluate import ImageScorer, ScoringRules, opened_truth
from .predictions import PredictionWriter
from .result import EvaluationResult

if TYPE_CHECKING:
    from detectron2.structures import Instances

logger = logging.getLogger(__name__)

PREDICTIONS_DIR = "predictions"
RESULT_FILE = "densepose_evaluation.json"
TABLE_FILE = "densepose_evaluation.md"


class DensePoseEvaluator(DatasetEvaluator):
    """Scores a model on a DensePose-COCO set, in one or several processes.

    Each process scores the images it is given at once and keeps a few hundred bytes a person.
    ``evaluate`` gathers these in the main process and adds them up. The processes need no folder in
    common.
    """

    def __init__(
        self,
        to_prediction: Callable[[Instances, int], ImagePrediction],
        ground_truth: str | os.PathLike[str] | Mapping[str, Any],
        surface: EvaluationSurface | Callable[[], EvaluationSurface],
        output_dir: str | os.PathLike[str],
        *,
        image_ids: Collection[int] | None = None,
        category_id: int | Collection[int] | None = None,
        save_predictions: bool = False,
        image_root: str | os.PathLike[str] | None = None,
        on_bad: str = "warn",
        **rules: Any,
    ) -> None:
        """Remember what to score; nothing is read or written yet.

        Args:
            to_prediction: (instances on the model's device, image id) -> prediction.
            ground_truth: path or content of the annotation file.
            surface: the surface of the annotations, or a function that makes it. That is called
                first in one process of each machine, which may fill a cache.
            output_dir: folder for ``densepose_evaluation.json`` and ``.md``, written by the main
                process.
            image_ids: score these images only.
            category_id: see ``evaluate_densepose``.
            save_predictions: each process writes the predictions of its images to
                ``output_dir``/predictions, which is emptied first.
            image_root: folder of the images; those whose file is missing are not scored.
            on_bad: "error" refuses missing images.
            rules: fields of ``ScoringRules``.

        Raises:
            ValueError, TypeError: a rule is unknown or has an unknown value.
        """
        self._to_prediction = to_prediction
        self._ground_truth = ground_truth
        self._surface = surface
        self._output_dir = Path(output_dir)
        self._rules = ScoringRules(**rules)
        self._truth_options = {
            "image_ids": image_ids,
            "category_id": category_id,
            "image_root": image_root,
            "on_bad": on_bad,
        }
        self._save_predictions = save_predictions
        self._scorer: ImageScorer | None = None
        self._writer: PredictionWriter | None = None
        self.result: EvaluationResult | None = None

    def check(self) -> None:
        """Read and check the annotations as scoring them will.

        Raises:
            FileNotFoundError, ValueError: they cannot be used.
        """
        opened_truth(self._ground_truth, self._rules, **self._truth_options)

    def reset(self) -> None:
        """Read and check the annotations; forget what was scored.

        Raises:
            FileNotFoundError, ValueError: the annotations or the surface cannot be used; in all
                processes alike.
        """
        truth = opened_truth(self._ground_truth, self._rules, **self._truth_options)
        self._scorer = ImageScorer(truth, self._opened_surface(), self._rules)
        self.result = None
        if self._save_predictions:
            folder = self._output_dir / PREDICTIONS_DIR
            self._writer = PredictionWriter(folder)
            if comm.get_local_rank() == 0:
                num_deleted = self._writer.clear()
                if num_deleted:
                    logger.info("deleted %d earlier predictions in %s", num_deleted, folder)
            comm.synchronize()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Score some images, at once or together with the next ones.

        Args:
            inputs: what the model was given; "image_id" is used.
            outputs: what it returned; "instances" after post-processing is used.

        Raises:
            RuntimeError: ``reset`` was not called.
            InputError: an image is not in the annotation file, or was scored before.
        """
        if self._scorer is None:
            raise RuntimeError("call reset() before process(), as inference_on_dataset does")
        for given, output in zip(inputs, outputs, strict=True):
            prediction = self._to_prediction(output["instances"], given["image_id"])
            self._scorer.add(prediction)
            if self._writer is not None:
                self._writer.write(prediction)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Add up the scores of all processes.

        Returns:
            densepose_gps, densepose_gpsm, densepose_iou, bbox and segm (and mask_branch and
            keypoints of models with such branches) with percentages, and densepose_points with
            fractions in [0, 1]; {} in all processes but the main one. ``result`` then holds all
            details, and ``output_dir`` the same as JSON and as a table.

        Raises:
            RuntimeError: ``reset`` was not called.
            InputError: two processes have scored the same image.
        """
        if self._scorer is None:
            raise RuntimeError("call reset() before evaluate(), as inference_on_dataset does")
        self._scorer.flush()
        _, *others = comm.gather(self._scorer.totals) or [None]
        if not comm.is_main_process():
            return OrderedDict()
        self.result = self._scorer.result(others)
        table = self.result.to_table()
        self.result.write_json(self._output_dir / RESULT_FILE)
        write_text(self._output_dir / TABLE_FILE, table)
        logger.info("DensePose scores on %s\n%s", self._scorer.truth.source, table)
        results = OrderedDict((name, dict(row)) for name, row in self.result.tables.items())
        results["densepose_points"] = dict(self.result.points)
        return results

    def _opened_surface(self) -> EvaluationSurface:
        if not callable(self._surface):
            return self._surface
        if comm.get_local_rank() == 0:
            self._surface = self._surface()
        comm.synchronize()
        if callable(self._surface):
            self._surface = self._surface()
        return self._surface
