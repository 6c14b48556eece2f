"""What one process does: read photos and videos, predict, write.

Three kinds of errors stay apart. What cannot be read is noted and the others go on. A failure of
the network or of writing ends the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from densepose.errors import InputError
from densepose.structures.prediction import ImagePrediction

from .inputs import is_video
from .model import Model
from .people import People
from .photos import read_photo
from .results_folder import FOLDERS, Entry, printable
from .video import Frame, VideoFile, camera_frames, write_video
from .writing import Wanted

T = TypeVar("T")
_CAMERA_RATE = Fraction(25)  # of the video's header; each frame has its own time


@dataclass
class _Clip:
    """A video whose first frame was read."""

    entry: Entry
    frames: Iterator[Frame]
    rate: Fraction
    file: VideoFile | None = None  # None: a camera


class Worker:
    """Predicts photos and videos into a folder of results."""

    def __init__(
        self,
        model: Model,
        folder: Path,
        wanted: Wanted,
        on_part: Callable[[float], object] = lambda fraction: None,
    ) -> None:
        """Keep what it works with.

        Args:
            model: finds the people.
            folder: of the results.
            wanted: what is written.
            on_part: is called with each further fraction of a video.
        """
        self.model, self.folder, self.wanted, self.on_part = model, folder, wanted, on_part

    def run(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Photos in batches, each video by itself; the next ones are read in the meantime.

        Args:
            entries: of ``ResultsFolder.start``.

        Yields:
            Each of them with its results, or with an ``error`` if it cannot be read.
        """
        for item in read_ahead(self._read(entries)):
            if isinstance(item, list):
                yield from self._photos(item)
            elif isinstance(item, _Clip):
                yield self._video(item)
            else:
                yield item

    def camera(self, entry: Entry, camera: str, seconds: float | None) -> Iterator[Entry]:
        """What a camera sees, as a video; an interrupt ends it like the end of a video."""
        frames = islice(camera_frames(camera, seconds), 0, None, self.wanted.frame_step)
        yield self._video(_Clip(entry, chain([next(frames)], frames), _CAMERA_RATE))

    def _read(
        self, entries: Iterable[Entry]
    ) -> Iterator[list[tuple[Entry, np.ndarray]] | _Clip | Entry]:
        """Batches of photos, videos, and entries of what cannot be read."""
        batch: list[tuple[Entry, np.ndarray]] = []
        for entry in entries:
            path = Path(entry["file"])
            if "error" in entry:
                yield entry
                continue
            try:
                if is_video(path):
                    file = VideoFile(path)
                    frames = file.frames(self.wanted.frame_step)
                    yield _Clip(entry, chain([next(frames)], frames), file.rate, file)
                    continue
                batch.append((entry, read_photo(path)))
            except InputError as error:
                yield {**entry, "error": str(error)}
            except OSError as error:
                yield {**entry, "error": f"{path}: {error.strerror or error}"}
            if len(batch) == self.model.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _photos(self, batch: Sequence[tuple[Entry, np.ndarray]]) -> Iterator[Entry]:
        people, seconds = self._found([image for _, image in batch], [e["id"] for e, _ in batch])
        for (entry, image), found in zip(batch, people, strict=True):
            found = People.of(found, image, printable(Path(entry["file"]).name))
            yield {
                **entry,
                "height": image.shape[0],
                "width": image.shape[1],
                "people": len(found),
                "scores": [round(float(score), 4) for score in found.scores],
                "seconds": round(seconds / len(batch), 4),
                "pictures": self.wanted.write(self.folder, entry["name"], found),
            }

    def _video(self, clip: _Clip) -> Entry:
        entry, name, is_camera = clip.entry, clip.entry["name"], clip.file is None
        video = f"{FOLDERS['video']}/{name}.mp4" if "video" in self.wanted.save else ""
        sound = None if is_camera else clip.file.path
        writing = write_video(self.folder / video, clip.rate, sound) if video else nullcontext()
        result = {**entry, "height": 0, "width": 0, "people": 0, "frames": 0, "seconds": 0.0}
        result |= {"pictures": [], "video": video}
        with writing as writer:
            try:
                for batch in read_ahead(_batches(clip.frames, self.model.batch_size)):
                    for frame, people in self._frames(batch, clip, result):
                        if writer is not None:
                            writer.write(np.asarray(self.wanted.picture(people)), frame.seconds)
                    if clip.file is not None and clip.file.num_frames:
                        self.on_part(len(batch) * self.wanted.frame_step / clip.file.num_frames)
            except KeyboardInterrupt:
                if not is_camera:
                    raise
            if writer is not None and clip.file is not None:
                writer.end_seconds = clip.file.end_seconds
        if clip.file is not None and clip.file.incomplete:
            result["incomplete"] = f"{entry['file']}: {clip.file.incomplete}"
        return result

    def _frames(
        self, batch: Sequence[Frame], clip: _Clip, result: Entry
    ) -> Iterator[tuple[Frame, People]]:
        """Predict and write some frames, and count them in ``result``."""
        # About one frame a second is also shown on the page.
        every = max(1, round(clip.rate / self.wanted.frame_step))
        found, seconds = self._found([f.image for f in batch], [f.number for f in batch])
        result["seconds"] = round(result["seconds"] + seconds, 4)
        for frame, each in zip(batch, found, strict=True):
            name = f"{result['name']}/{frame.number:06d}"
            people = People.of(each, frame.image, name)
            page = result["frames"] % every == 0
            result["pictures"] += self.wanted.write(self.folder, name, people, page=page)
            result["frames"] += 1
            result["people"] += len(people)
            result["height"], result["width"] = people.image_size
            yield frame, people

    def _found(
        self, images: Sequence[np.ndarray], ids: Sequence[int]
    ) -> tuple[Sequence[ImagePrediction], float]:
        """The people of each image, and the seconds that all took."""
        start = time.perf_counter()
        found = self.model.predictor.batch(images, ids)
        return found, time.perf_counter() - start


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items; the next one is made in a thread while one is used."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = thread.submit(next, iterator, end)
            yield item


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
