"""From photos and videos to a folder of results: what ``densepose predict`` does."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

import densepose
from densepose.errors import InputError
from densepose.files import held
from densepose.progress import progress_bar
from densepose.workers import end_with_parent

from .model import Model, load
from .page import write_page
from .results_folder import PAGE, Entry, ResultsFolder, new_folder, printable
from .work import Worker
from .writing import Wanted

logger = logging.getLogger(__name__)

ROOT = "output/predict"
_MOST_NAMED = 10
_BATCHES_A_TASK = 4  # so that a process reads the next batch while it predicts one


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
    incomplete: list[str] = field(default_factory=list)  # videos of which only a part was read

    def add(self, entry: Entry) -> None:
        """Count a file."""
        if "error" in entry:
            self.failed.append(entry["error"])
            return
        frames = entry.get("frames", 1)
        self.images += frames
        self.people += entry["people"]
        self.seconds.append(entry["seconds"] / max(frames, 1))
        if "incomplete" in entry:
            self.incomplete.append(entry["incomplete"])

    def text(self) -> str:
        """Lines for the end of the command; the last one says where the results are."""
        lines = [*self._named("not readable", self.failed)]
        lines += self._named("videos with missing frames", self.incomplete)
        each = f", {statistics.median(self.seconds):.2f} s each (median)" if self.seconds else ""
        before = f", {self.skipped} were finished before" if self.skipped else ""
        page = self.folder / PAGE
        place = page if page.is_file() else self.folder
        people = "1 person" if self.people == 1 else f"{self.people} people"
        images = "1 image" if self.images == 1 else f"{self.images} images"
        lines.append(f"{place}: {people} in {images}{each}{before}")
        return "\n".join(lines)

    def _named(self, title: str, sentences: Sequence[str]) -> Iterator[str]:
        if sentences:
            yield f"{title}: {len(sentences)}"
        for sentence in sentences[:_MOST_NAMED]:
            yield f"  {printable(sentence)}"
        if len(sentences) > _MOST_NAMED:
            more = len(sentences) - _MOST_NAMED
            yield f"  ... and {more} more, see {self.folder / 'photos.jsonl'}"


def predict(
    model: Model,
    paths: Sequence[Path],
    output: str | Path | None,
    wanted: Wanted,
    *,
    overwrite: bool = False,
    processes: int = 1,
    camera: str | None = None,
    camera_seconds: float | None = None,
) -> Summary:
    """Predict photos and videos that have no results in the folder yet.

    A file that cannot be read does not end it: it is noted, and tried again by the next call.

    Args:
        model: from ``densepose.load``.
        paths: of photos and videos, see ``find_inputs``.
        output: folder of results, new or of an interrupted call with the same settings. None: a new
            one in ``output/predict``.
        wanted: what is written.
        overwrite: delete earlier results in the folder.
        processes: that work beside each other, each with its own model: on the CPU, or on as many
            GPUs as there are.
        camera: also predict what this camera sees, see ``camera_frames``.
        camera_seconds: for so long; until an interrupt if None.

    Raises:
        InputError: the folder holds other things, or results of other settings; another process
            writes into it; the camera gives no picture; a process ended.
    """
    place = new_folder(ROOT) if output is None else Path(output)
    with held(place):
        folder = ResultsFolder(place, _settings(model, wanted), overwrite=overwrite)
        summary = Summary(place)
        worker = Worker(model, place, wanted)
        results = _with_progress(worker, folder, paths, summary, processes)
        if camera is not None:
            entry = folder.name(f"camera {camera} at {time.strftime('%Y-%m-%d %H.%M.%S')}")
            results = chain(results, worker.camera(entry, camera, camera_seconds))
        for entry in results:
            if "error" in entry:
                logger.warning("%s", printable(entry["error"]))
            folder.finish(entry)
            summary.add(entry)
        if "page" in wanted.save:
            write_page(folder, _facts(model))
    return summary


def _with_progress(
    worker: Worker, folder: ResultsFolder, paths: Sequence[Path], summary: Summary, processes: int
) -> Iterator[Entry]:
    """The results of all files that are not finished; the others are counted."""
    with warnings.catch_warnings(), progress_bar("predict", len(paths)) as show:
        # Above 89 million pixels; what is above twice as many is an error of its own.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        progress = _Progress(show)
        worker.on_part = progress.part

        def skip() -> None:  # in the thread that reads
            summary.skipped += 1
            show(more=1)

        todo = _unfinished(folder, paths, skip)
        for entry in worker.run(todo) if processes == 1 else _in_processes(worker, todo, processes):
            yield entry
            progress.file()
        worker.on_part = lambda fraction: None


class _Progress:
    """A bar in files; a video moves it by fractions."""

    def __init__(self, show: Callable[..., None]) -> None:
        self._show, self._part = show, 0.0

    def part(self, fraction: float) -> None:
        fraction = min(fraction, 1 - self._part)
        self._part += fraction
        self._show(more=fraction)

    def file(self) -> None:
        self._show(more=1 - self._part)
        self._part = 0.0


def _unfinished(
    folder: ResultsFolder, paths: Sequence[Path], skip: Callable[[], object]
) -> Iterator[Entry]:
    """What is to be done; ``skip`` is called for each file that is finished."""
    for path in paths:
        try:
            if folder.is_finished(path):
                skip()
            else:
                yield folder.start(path)
        except OSError as error:  # it was deleted since it was listed
            yield {**folder.name(str(path)), "error": f"{path}: {error.strerror}"}


def _in_processes(worker: Worker, entries: Iterator[Entry], processes: int) -> Iterator[Entry]:
    """As ``Worker.run``, in other processes; in the order they come."""
    size = _BATCHES_A_TASK * worker.model.batch_size
    listed = list(entries)
    tasks = [listed[start : start + size] for start in range(0, len(listed), size)]
    context = multiprocessing.get_context("spawn")
    arguments = (worker.model.arguments, worker.folder, worker.wanted)
    with ProcessPoolExecutor(
        processes,
        mp_context=context,
        initializer=_start_process,
        initargs=(context.Value("i", 0), processes, *arguments),
    ) as pool:
        futures = [pool.submit(_do_task, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a process ended unexpectedly, probably for lack of memory; repeat the command with"
                " fewer --processes, which resumes"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker: Worker | None = None  # of a process of ``_in_processes``


def _start_process(
    counter: Any, processes: int, arguments: Mapping[str, Any], folder: Path, wanted: Wanted
) -> None:
    from densepose.engine.logs import quiet_libraries

    quiet_libraries()
    import torch

    global _worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends all processes at once
    end_with_parent()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    if arguments["device"] == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
        device = "cpu"
    else:
        device = f"cuda:{number % torch.cuda.device_count()}"
    _worker = Worker(load(**{**arguments, "device": device}), folder, wanted)


def _do_task(entries: list[Entry]) -> list[Entry]:
    assert _worker is not None
    return list(_worker.run(entries))


def _settings(model: Model, wanted: Wanted) -> dict[str, Any]:
    """What results depend on; those of other values do not belong into the same folder."""
    config = model.config.clone()
    config.defrost()
    config.OUTPUT_DIR = config.MODEL.DEVICE = config.MODEL.CPU_OPS = ""
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
