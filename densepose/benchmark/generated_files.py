"""Data sets on disk for the cases that read some: generated, in DensePose-COCO's form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from densepose.evaluation.generated import IMAGE_SIZE, generated_set, generated_surface
from densepose.evaluation.predictions import PredictionWriter
from densepose.surface.charts import load_template_atlas
from densepose.surface.official.export import write_official_files
from densepose.surface.official.surface import load_official_surface
from densepose.synthetic.anatomy import load_anatomy
from densepose.synthetic.backgrounds import random_background
from densepose.synthetic.photograph import develop, sample_photograph
from densepose.synthetic.render import render
from densepose.synthetic.scene import fit_camera, sample_scene
from densepose.synthetic.truth import SceneGeometry

from .surface_work import SCENE

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


def write_surface_files(folder: Path, size: tuple[int, int], people: int) -> None:
    """A rendered scene of at most ``people`` people with its IUV, and a random texture.

    Args:
        folder: is made.
        size: height and width in px.
        people: a second and third person may be hidden behind the first.
    """
    folder.mkdir(parents=True)
    height, width = size
    rng = np.random.default_rng(0)
    anatomy = load_anatomy()
    scene = sample_scene(rng, anatomy, width, height, (people, people))
    camera = fit_camera(rng, list(scene.people), width, height, whole=True)
    geometry = SceneGeometry(replace(scene, objects=(), camera=camera), anatomy)
    background = random_background(rng, camera)
    np.savez(
        folder / SCENE,
        image=develop(render(geometry, background), sample_photograph(rng), rng),
        iuv=geometry.truth(load_template_atlas()).iuv_image(),
        texture=rng.integers(0, 256, (1200, 800, 3), dtype=np.uint8),
    )


def write_evaluation_files(folder: Path, num_images: int) -> None:
    """Annotations and predictions: 1.5 people an image as in minival, two detections of each."""
    folder.mkdir(parents=True)
    made = generated_set("noisy", 0, num_images, 109, most_people=2, detections_per_person=2)
    (folder / "truth.json").write_text(json.dumps(made.ground_truth))
    writer = PredictionWriter(folder / "predictions")
    for prediction in made.predictions:
        writer.write(prediction)


def write_official_surface(folder: Path, vertices_per_part: int) -> int:
    """A stand-in of the official surface, unless it is there already; its number of vertices."""
    note = folder / "num_vertices.txt"
    if note.is_file():
        return int(note.read_text())
    surface = generated_surface(0, vertices_per_part)
    charts, distances = surface.charts, surface.distances
    write_official_files(
        folder,
        uv=charts.uv,
        part=charts.part,
        mesh_vertex=charts.mesh_vertex,
        distances_m=distances.triangle,
    )
    # Conversion happens once in the life of the files; it is not part of an evaluation.
    load_official_surface(folder, num_vertices=distances.num_vertices)
    note.write_text(str(distances.num_vertices))
    return distances.num_vertices
