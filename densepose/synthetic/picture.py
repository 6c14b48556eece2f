"""Make one image of a synthetic set, with its truth and annotations, from one random stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from densepose.surface.charts import load_template_atlas

from .anatomy import Anatomy, load_anatomy
from .annotate import annotate_person
from .annotator_noise import SurfaceNoise
from .backgrounds import Background, random_background
from .camera import fit_camera
from .environment import picture_behind, read_environment, turned_light
from .library import Library, open_library
from .photo_background import light_of_photo, photo_background, photo_files
from .photograph import (
    develop,
    encode_jpeg,
    encode_png,
    in_the_dark,
    infrared,
    infrared_light,
    night_photograph,
    sample_photograph,
    snapshot,
)
from .render import render
from .scene import Scene, sample_scene
from .truth import SceneGeometry, Truth

CAMERAS = ("photo", "night")
SPLITS = ("train", "val")
# People seen in fewer pixels of a 320 x 320 picture are dropped rather than annotated as a speck.
_LEAST_SHARE = 120 / 320**2
# With environments: how often one lights the scene, and how often it is then seen behind it.
_PHOTOGRAPHED_LIGHT, _SEEN_ENVIRONMENT = 0.6, 0.35


@dataclass(frozen=True)
class PictureSettings:
    """What the content of an image depends on, besides split and index."""

    seed: int
    image_size: int
    people: tuple[int, int]
    noise_m: float
    backgrounds: str | None
    photo_share: float = 1.0  # of the images, where there are photos
    camera: str = "photo"  # one of CAMERAS
    assets: str | None = None  # folder of what people wear, how they move, what lights them
    empty_share: float = 0.0  # of the images, nobody in them


@dataclass(frozen=True)
class Picture:
    """One image with its annotations, encoded."""

    jpeg: bytes
    iuv_png: bytes
    instance_png: bytes
    annotations: list[dict[str, Any]]  # without ids


def image_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Generator for image ``index`` (0-based) of ``split`` in a set made with ``seed`` (>= 0).

    It depends on nothing else, so an image has the same bytes whichever worker makes it.

    Raises:
        ValueError: an unknown split, or a number below 0.
    """
    sequence = np.random.SeedSequence([seed, SPLITS.index(split), index])
    return np.random.Generator(np.random.PCG64(sequence))


@lru_cache(maxsize=4)
def _photos(folder: str, split: str) -> list[Path]:
    return photo_files(folder, split)


@lru_cache(maxsize=1)
def _noise(noise_m: float) -> SurfaceNoise:
    return SurfaceNoise(load_template_atlas(), noise_m)


def compose(
    rng: np.random.Generator,
    anatomy: Anatomy,
    size: int,
    people: tuple[int, int],
    library: Library | None = None,
) -> tuple[Scene, SceneGeometry]:
    """A random scene in which at least one person is well seen and no one is only a speck."""
    scene = sample_scene(rng, anatomy, size, size, people, library)
    geometry = SceneGeometry(scene, anatomy)
    least = _LEAST_SHARE * size * size
    if geometry.visible_pixels().max() < 4 * least:
        camera = fit_camera(rng, list(scene.people), size, size, whole=True)
        scene = replace(scene, objects=(), camera=camera)
        geometry = SceneGeometry(scene, anatomy)
    while True:
        visible = geometry.visible_pixels()
        kept = tuple(
            person
            for person, count in zip(scene.people, visible, strict=True)
            if not 0 < count < least
        )
        if len(kept) in (0, len(scene.people)):
            return scene, geometry
        scene = replace(scene, people=kept)
        geometry = SceneGeometry(scene, anatomy)


def draw_picture(
    settings: PictureSettings, split: str, index: int
) -> tuple[np.ndarray, Truth, list[dict[str, Any]], int]:
    """Image ``index`` of ``split``: (H, W, 3) uint8 RGB, truth, annotations, JPEG quality."""
    rng = image_rng(settings.seed, split, index)
    anatomy, atlas = load_anatomy(), load_template_atlas()
    library = open_library(settings.assets, split) if settings.assets is not None else None
    scene, geometry = compose(rng, anatomy, settings.image_size, settings.people, library)
    if settings.empty_share > 0 and rng.random() < settings.empty_share:
        scene = replace(scene, people=())
        geometry = SceneGeometry(scene, anatomy)
    if not _has_photo(settings, rng):
        background = random_background(rng, scene.camera)
    else:
        background = photo_background(rng, scene.camera, _photos(settings.backgrounds, split))
        geometry.scene = replace(scene, light=light_of_photo(scene.light, background.color))
    how = sample_photograph(rng)
    if library is not None:
        how = snapshot(rng, how)
        if library.environments and rng.random() < _PHOTOGRAPHED_LIGHT:
            background = _lit_by_environment(rng, geometry, background, library)
    if settings.camera == "night":
        geometry.scene = replace(scene, light=infrared_light(rng, scene.camera))
        background, how = in_the_dark(rng, background), night_photograph(rng, how)
    linear = render(geometry, background)
    image = develop(infrared(linear) if settings.camera == "night" else linear, how, rng)
    truth = geometry.truth(atlas)
    return image, truth, _annotations(settings, truth, rng), how.jpeg_quality


def _lit_by_environment(
    rng: np.random.Generator, geometry: SceneGeometry, background: Background, library: Library
) -> Background:
    """Give the scene the light of an environment, and sometimes the view of it as background."""
    path = library.environments[rng.integers(len(library.environments))]
    environment, yaw = read_environment(path), float(rng.uniform(0, 2 * np.pi))
    camera = geometry.scene.camera
    geometry.scene = replace(geometry.scene, light=turned_light(rng, environment, yaw))
    if rng.random() > _SEEN_ENVIRONMENT:
        return background
    rays = geometry.rays.reshape(camera.height, camera.width, 3)
    return Background(picture_behind(environment, rays, yaw), camera.floor_depth())


def _has_photo(settings: PictureSettings, rng: np.random.Generator) -> bool:
    """Whether the background of an image is a photo; draws only where both kinds occur."""
    if settings.backgrounds is None or settings.photo_share >= 1:
        return settings.backgrounds is not None
    return bool(rng.random() < settings.photo_share)


def _annotations(
    settings: PictureSettings, truth: Truth, rng: np.random.Generator
) -> list[dict[str, Any]]:
    noise = _noise(settings.noise_m) if settings.noise_m > 0 else None
    records = [annotate_person(truth, person, rng, noise) for person in range(truth.num_people)]
    return [record for record in records if record is not None]


def make_picture(settings: PictureSettings, split: str, index: int) -> Picture:
    """Image ``index`` (0-based) of ``split``; equal arguments give equal bytes."""
    image, truth, annotations, quality = draw_picture(settings, split, index)
    return Picture(
        jpeg=encode_jpeg(image, quality),
        iuv_png=encode_png(truth.iuv_image()),
        instance_png=encode_png(truth.instance),
        annotations=annotations,
    )
