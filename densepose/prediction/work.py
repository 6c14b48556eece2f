"""One photo or video: read, predict, write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densepose.evaluation.predictions import PredictionWriter
from densepose.structures.prediction import ImagePrediction
from densepose.vis.iuv_image import prediction_to_iuv, write_iuv_png
from densepose.vis.sheets import parts_picture, photo_panels

from .photos import is_video, read_photo
from .results_folder import Entry, ResultsFolder
from .video import VideoWriter, read_frames, video_facts

Predict = Callable[[np.ndarray, int], ImagePrediction]


@dataclass(frozen=True)
class Wanted:
    """What is written of each photo, besides its picture."""

    predictions: bool = False
    iuv: bool = False
    side_px: int = 800  # longest side in pictures
    frame_step: int = 1  # of videos


def predict_file(path: Path, predict: Predict, folder: ResultsFolder, wanted: Wanted) -> Entry:
    """Write the results of one photo or video.

    Returns:
        Its line of the log.

    Raises:
        ValueError: not readable as a picture, or PyAV is missing for a video.
        OSError: not readable as a video.
    """
    work = _video if is_video(path) else _photo
    return work(path, predict, folder, wanted)


def _photo(path: Path, predict: Predict, folder: ResultsFolder, wanted: Wanted) -> Entry:
    entry = folder.start(path)
    image = read_photo(path)
    start = time.perf_counter()
    found = predict(image, entry["id"])
    seconds = time.perf_counter() - start
    _save(found, folder, wanted, "predictions", f"iuv/{entry['name']}.png")
    picture = folder.write_picture(entry["name"], photo_panels(image, found, wanted.side_px))
    return {
        **entry,
        "height": image.shape[0],
        "width": image.shape[1],
        "people": len(found),
        "scores": [round(float(score), 4) for score in found.scores],
        "seconds": round(seconds, 4),
        "pictures": [picture],
    }


def _video(path: Path, predict: Predict, folder: ResultsFolder, wanted: Wanted) -> Entry:
    entry = folder.start(path)
    name, facts = entry["name"], video_facts(path)
    pictures, people, seconds, frames, shape = [], 0, 0.0, 0, (0, 0)
    # About one frame a second is also written as a picture.
    every = max(1, round(float(facts.rate) / wanted.frame_step))
    place = f"videos/{name}.mp4"
    with VideoWriter(folder.path(place), facts.rate / wanted.frame_step) as writer:
        for number, image in read_frames(path, wanted.frame_step):
            start = time.perf_counter()
            found = predict(image, number)
            seconds += time.perf_counter() - start
            _save(found, folder, wanted, f"predictions/{name}", f"iuv/{name}/{number:06d}.png")
            writer.write(parts_picture(image, found, max(image.shape[:2])))
            if frames % every == 0:
                panels = photo_panels(image, found, wanted.side_px)
                pictures.append(folder.write_picture(f"{name}/{number:06d}", panels))
            frames, people, shape = frames + 1, people + len(found), image.shape
    if not frames:
        raise ValueError(f"{path}: no frame in this video")
    return {
        **entry,
        "height": shape[0],
        "width": shape[1],
        "people": people,
        "frames": frames,
        "seconds": round(seconds, 4),
        "pictures": pictures,
        "video": place,
    }


def _save(
    found: ImagePrediction, folder: ResultsFolder, wanted: Wanted, place: str, iuv_place: str
) -> None:
    if wanted.predictions:
        PredictionWriter(folder.path(place)).write(found)
    if wanted.iuv:
        write_iuv_png(folder.path(iuv_place), prediction_to_iuv(found))
