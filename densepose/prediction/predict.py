"""From photos and videos to a folder of results: what ``densepose predict`` does."""

from __future__ import annotations

import hashlib
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

import densepose
from densepose.errors import InputError
from densepose.files import atomic, did_you_mean
from densepose.progress import track
from densepose.vis.sheets import photo_panels
from densepose.vis.styles import PART_COLORS, find_style

from .model import Model
from .page import write_page
from .people import People
from .photos import is_video, read_photo
from .results_folder import FOLDERS, PAGE, Entry, ResultsFolder
from .video import read_frames, video_facts, write_video

logger = logging.getLogger(__name__)

DEFAULT = ("page", "iuv", "video")
PANELS_PX = 800  # longest side of each of the four pictures of a photo on the page
_MOST_NAMED = 10
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is written of each photo."""

    save: tuple[str, ...] = DEFAULT  # names of FOLDERS
    style: str = "parts"  # of overlay and video, see densepose.vis.styles
    background: str | None = None  # of overlay and video; None: that of the style
    frame_step: int = 1  # every so many frames of a video

    def __post_init__(self) -> None:
        for kind in self.save:
            if kind not in FOLDERS:
                hint = did_you_mean(kind, FOLDERS)
                raise InputError(f"save: {kind!r} is none of {', '.join(FOLDERS)}{hint}")
        find_style(self.style)

    def picture(self, people: People) -> Image.Image:
        """The people in the style, over the background."""
        return people.draw(self.style, self.background)


def _index_image(people: People) -> Image.Image:
    """Pixels are the numbers of the parts; programs that show it use the colours of the parts."""
    image = Image.fromarray(people.part_map())
    image.putpalette(PART_COLORS.tobytes())
    return image


def _panels(people: People) -> Image.Image:
    return Image.fromarray(photo_panels(people.photo, people, PANELS_PX))


# What is written of a photo: ending of the file, and what writes it.
_JPEG = {"format": "JPEG", "quality": 90, "subsampling": 0}  # 4:4:4: edges of colours bleed else
_FILES: dict[str, tuple[str, Callable[[People, Path, Wanted], None]]] = {
    "page": (".jpg", lambda people, path, _: _panels(people).save(path, **_JPEG)),
    "iuv": (".png", lambda people, path, _: people.save(path)),
    "parts": (".png", lambda people, path, _: _index_image(people).save(path)),
    "mask": (".png", lambda people, path, _: Image.fromarray(people.mask()).save(path)),
    "overlay": (".png", lambda people, path, wanted: wanted.picture(people).save(path)),
    "npz": (".npz", lambda people, path, _: people.save(path)),
    "json": (".json", lambda people, path, _: people.save(path)),
}


@dataclass
class Summary:
    """What one call has done."""

    folder: Path
    skipped: int = 0  # files that an earlier call had finished
    images: int = 0  # photos and frames
    people: int = 0
    # Of a photo, or of a frame of a video on average; the first one also warms up.
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # why, one sentence each

    def text(self) -> str:
        """Lines for the end of the command; the last one says where the results are."""
        lines = [f"not readable: {len(self.failed)}"] * bool(self.failed)
        lines += [f"  {text}" for text in self.failed[:_MOST_NAMED]]
        if len(self.failed) > _MOST_NAMED:
            more = len(self.failed) - _MOST_NAMED
            lines.append(f"  ... and {more} more, see {self.folder / 'photos.jsonl'}")
        each = f", {statistics.median(self.seconds):.2f} s each (median)" if self.seconds else ""
        before = f", {self.skipped} were finished before" if self.skipped else ""
        page = self.folder / PAGE
        place = page if page.is_file() else self.folder
        people = "1 person" if self.people == 1 else f"{self.people} people"
        images = "1 image" if self.images == 1 else f"{self.images} images"
        lines.append(f"{place}: {people} in {images}{each}{before}")
        return "\n".join(lines)


def predict(
    model: Model,
    paths: Sequence[Path],
    output: str | Path,
    wanted: Wanted,
    *,
    overwrite: bool = False,
) -> Summary:
    """Predict photos and videos that have no results in the folder yet.

    A file that cannot be read does not end it: it is noted, and tried again by the next call.

    Args:
        model: from ``densepose.load``.
        paths: of photos and videos, see ``find_inputs``.
        output: folder of results, new or of an interrupted call with the same settings.
        wanted: what is written.
        overwrite: delete earlier results in the folder.

    Raises:
        InputError: the folder holds other things, or results of other settings.
    """
    folder = ResultsFolder(output, _settings(model, wanted), overwrite=overwrite)
    summary = Summary(folder.folder)
    job = _Job(model, folder, wanted, summary)
    job.run(track(paths, total=len(paths), label="predict"))
    if "page" in wanted.save:
        write_page(folder, _facts(model))
    return summary


@dataclass
class _Job:
    model: Model
    folder: ResultsFolder
    wanted: Wanted
    summary: Summary

    def run(self, paths: Iterable[Path]) -> None:
        """Photos in batches, each video by itself."""
        batch: list[tuple[Entry, np.ndarray]] = []
        for path in paths:
            if self.folder.is_finished(path):
                self.summary.skipped += 1
                continue
            try:
                if is_video(path):
                    self._finish(self._video(path))
                else:
                    batch.append((self.folder.start(path), read_photo(path)))
            except (InputError, OSError) as error:
                logger.warning("%s", error)
                self.summary.failed.append(str(error))
                self.folder.finish({**self.folder.start(path), "error": str(error)})
            if len(batch) == self.model.batch_size:
                self._photos(batch)
                batch = []
        if batch:
            self._photos(batch)

    def _finish(self, entry: Entry) -> None:
        self.folder.finish(entry)
        frames = entry.get("frames", 1)
        self.summary.images += frames
        self.summary.people += entry["people"]
        self.summary.seconds.append(entry["seconds"] / frames)

    def _photos(self, batch: list[tuple[Entry, np.ndarray]]) -> None:
        people, seconds = self._found([image for _, image in batch], [e["id"] for e, _ in batch])
        for (entry, image), found in zip(batch, people, strict=True):
            found = People.of(found, image, Path(entry["file"]).name)
            self._finish(
                {
                    **entry,
                    "height": image.shape[0],
                    "width": image.shape[1],
                    "people": len(found),
                    "scores": [round(float(score), 4) for score in found.scores],
                    "seconds": round(seconds / len(batch), 4),
                    "pictures": self._write_all(entry["name"], found),
                }
            )

    def _video(self, path: Path) -> Entry:
        entry = self.folder.start(path)
        name, facts = entry["name"], video_facts(path)
        video = f"{FOLDERS['video']}/{name}.mp4" if "video" in self.wanted.save else ""
        # About one frame a second is also shown on the page.
        every = max(1, round(float(facts.rate) / self.wanted.frame_step))
        pictures, people, seconds, frames, size = [], 0, 0.0, 0, (0, 0)
        writing = write_video(self.folder.path(video), facts.rate, path) if video else nullcontext()
        with writing as writer:
            for batch in _batches(read_frames(path, self.wanted.frame_step), self.model.batch_size):
                numbers = [frame.number for frame in batch]
                found, taken = self._found([frame.image for frame in batch], numbers)
                seconds += taken
                for frame, each in zip(batch, found, strict=True):
                    place = f"{name}/{frame.number:06d}"
                    each = People.of(each, frame.image, place)
                    pictures += self._write_all(place, each, page=frames % every == 0)
                    if writer is not None:
                        writer.write(np.asarray(self.wanted.picture(each)), frame.seconds)
                    frames, people, size = frames + 1, people + len(each), each.image_size
            if not frames:
                raise InputError(f"{path}: no frame in this video")
        return {
            **entry,
            "height": size[0],
            "width": size[1],
            "people": people,
            "frames": frames,
            "seconds": round(seconds, 4),
            "pictures": pictures,
            "video": video,
        }

    def _found(self, images: list[np.ndarray], ids: list[int]) -> tuple[list[Any], float]:
        """The people of each image, and the seconds that all took."""
        start = time.perf_counter()
        found = self.model.predictor.batch(images, ids)
        return found, time.perf_counter() - start

    def _write_all(self, name: str, people: People, *, page: bool = True) -> list[str]:
        """Write the files of a photo or frame; paths of pictures for the page."""
        pictures = []
        for kind in self.wanted.save:
            if kind in _FILES and (page or kind != "page"):
                suffix, write = _FILES[kind]
                place = f"{FOLDERS[kind]}/{name}{suffix}"
                with atomic(self.folder.path(place)) as temporary:
                    write(people, temporary, self.wanted)
                pictures += [place] * (kind == "page")
        return pictures


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _settings(model: Model, wanted: Wanted) -> dict[str, Any]:
    """What results depend on; those of other values do not belong into the same folder."""
    config = model.config.clone()
    config.defrost()
    config.OUTPUT_DIR = config.MODEL.DEVICE = ""
    return {
        "weights": str(model.config.MODEL.WEIGHTS),
        "config_sha256": hashlib.sha256(config.dump().encode()).hexdigest(),
        "min_score": model.predictor.min_score,
        "largest": model.predictor.largest,
        "half": model.predictor.half,
        **{name: _plain(value) for name, value in asdict(wanted).items()},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # as JSON gives it back


def _facts(model: Model) -> dict[str, str]:
    """How the results were made, for the page."""
    largest = model.predictor.largest
    return {
        "config": model.source,
        "weights": str(model.config.MODEL.WEIGHTS),
        "people": f"score at least {model.predictor.min_score:g}"
        + (f", the {largest} largest of a photo" if largest else ""),
        "version": f"densepose {densepose.__version__}",
    }
