"""Data sets on disk for the cases that read some: generated, in DensePose-COCO's form."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from densepose.evaluation.generated import IMAGE_SIZE, generated_set, generated_surface
from densepose.evaluation.prediction_file import PredictionWriter
from densepose.surface.official import load_official_surface
from densepose.surface.official_export import write_official_files

_NUM_PARTS = 24


def write_loading_files(folder: Path, num_images: int) -> None:
    """Annotations, JPEG files and a stand-in of the table that detectron2's flip reads."""
    made = generated_set("easy", 0, num_images)
    (folder / "images").mkdir(parents=True)
    (folder / "truth.json").write_text(json.dumps(made.ground_truth))
    rng = np.random.default_rng(0)
    for image in made.ground_truth["images"]:
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        pixels = cv2.resize(coarse, IMAGE_SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "images" / image["file_name"]), pixels)
    tables = np.empty((1, _NUM_PARTS), object)
    for part in range(_NUM_PARTS):
        tables[0, part] = rng.uniform(0, 1, (256, 256))
    savemat(folder / "symmetry.mat", {"U_transforms": tables, "V_transforms": tables})


def write_evaluation_files(folder: Path, num_images: int, *, vertices_per_part: int) -> int:
    """Annotations, predictions and a stand-in of the official surface; its number of vertices."""
    folder.mkdir(parents=True)
    made = generated_set("noisy", 0, num_images)
    (folder / "truth.json").write_text(json.dumps(made.ground_truth))
    writer = PredictionWriter(folder / "predictions")
    for prediction in made.predictions:
        writer.write(prediction)
    surface = generated_surface(0, vertices_per_part)
    charts, distances = surface.charts, surface.distances
    official = folder / "official"
    write_official_files(
        official,
        uv=charts.uv,
        part=charts.part,
        mesh_vertex=charts.mesh_vertex,
        distances_m=distances.triangle,
    )
    # Conversion happens once in the life of the files; it is not part of an evaluation.
    load_official_surface(official, num_vertices=distances.num_vertices)
    return distances.num_vertices
