"""The state of a project, rebuilt from its log: photos, instances, their regions and points."""

from __future__ import annotations

import hashlib
import logging
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densepose.errors import InputError
from densepose.prediction.photos import read_photo

from . import events as ev
from .body import Body
from .instance import NOBODY, Instance, Point
from .points import sample_points
from .regions import grid_from_masks

logger = logging.getLogger(__name__)

# Box, its source ("file" or "model"), and the masks of its regions or None.
Start = tuple[ev.Box, str, list[ev.Runs] | None]
# (name, photo, boxes that are known) -> what to start the photo with
StartPhoto = Callable[[str, NDArray[np.uint8], list[ev.Box]], list[Start]]
# After this time without a click a photo is free for other annotators.
_TAKEN = timedelta(minutes=10)


class Project:
    """Photos and what has been annotated in them; its methods may be called from any thread."""

    def __init__(
        self,
        photos: Mapping[str, Path],
        log: ev.EventLog,
        body: Body,
        *,
        points_per_region: int = 14,
        overlap: float = 0.0,
        truth: Mapping[str, Path] | None = None,
    ) -> None:
        """Rebuilds the state from the log.

        Args:
            photos: file of each photo by the name that the file of annotations gets, in the order
                in which they are shown.
            log: of the project.
            body: that points are placed on.
            points_per_region: most points of a region.
            overlap: fraction of instances whose points every annotator places without seeing the
                answers of the others.
            truth: IUV image of each photo that is a test.
        """
        self.photos = dict(photos)
        self.names = list(self.photos)
        self.log, self.body = log, body
        self.points_per_region, self.overlap = points_per_region, overlap
        self.truth = dict(truth or {})
        self.sizes: dict[str, tuple[int, int]] = {}  # width, height of the opened photos
        self.head: dict[str, Any] = {}  # what a file of annotations has besides its records
        self.image_records: dict[str, dict[str, Any]] = {}  # of opened photos, {} for new ones
        self.opened: set[str] = set()  # photos that somebody has seen
        self.instances: dict[int, Instance] = {}
        self.of_image: dict[str, list[int]] = defaultdict(list)
        self.last_seen: dict[str, tuple[str, str]] = {}  # who worked on an image last, and when
        self.next_instance = 1
        self.lock = threading.RLock()
        for event in log.events:
            self._apply(event)
        log.events = []

    def record(self, event: ev.Events, who: str = NOBODY) -> None:
        """Write an event to the log, then let it take effect.

        Raises:
            InputError: it is about an instance, a point or a part that does not exist.
        """
        with self.lock:
            self._check(event)
            self._apply(self.log.append(event, who))

    def begin(self, events: list[ev.Events]) -> None:
        """Let the events of an opened file be the first ones of an empty log."""
        with self.lock:
            self.log.begin(events)
            for event in events:
                self._apply(event)

    def name_of(self, number: int) -> str:
        """Name of a photo.

        Raises:
            InputError: there is no such photo.
        """
        if not 0 <= number < len(self.names):
            raise InputError(f"photo {number}: there are {len(self.names)}")
        return self.names[number]

    def instance(self, number: int) -> Instance:
        """An instance by its number.

        Raises:
            InputError: there is none, or it was deleted.
        """
        if number not in self.instances:
            raise InputError(f"instance {number} does not exist, or was deleted")
        return self.instances[number]

    def _check(self, event: ev.Events) -> None:
        """Only what the log can hold without breaking the next start."""
        if isinstance(event, (ev.Imported, ev.Listed, ev.Opened, ev.Added)):
            return
        instance = self.instance(event.instance)
        if isinstance(event, (ev.Answered, ev.Confirmed)) and event.point not in instance.points:
            raise InputError(f"instance {event.instance} has no point {event.point}")
        if isinstance(event, ev.Stroke) and event.region > len(self.body.region_names):
            raise InputError(f"region {event.region}: expected 0 to {len(self.body.region_names)}")

    def _apply(self, event: ev.Events) -> None:
        if isinstance(event, ev.Imported):
            self.head = event.head
            return
        if isinstance(event, (ev.Listed, ev.Opened)):
            self.sizes[event.image] = (event.width, event.height)
            if isinstance(event, ev.Listed):
                self.image_records[event.image] = event.record
            else:
                self.image_records.setdefault(event.image, {})
                self.opened.add(event.image)
            return
        if isinstance(event, ev.Added):
            self._add(event)
            return
        instance = self.instances[event.instance]
        instance.version += 1
        instance.is_changed |= bool(event.who)
        if event.who:
            self.last_seen[instance.image] = (event.who, event.time)
        _EFFECTS[type(event)](self, instance, event)

    def _add(self, event: ev.Added) -> None:
        new = Instance(event.instance, event.image, event.box, event.source, event.record)
        if event.record:
            new.read_record(self.body)
        self.instances[event.instance] = new
        self.of_image[event.image].append(event.instance)
        self.next_instance = max(self.next_instance, event.instance + 1)

    def _delete(self, instance: Instance, event: ev.Deleted) -> None:
        del self.instances[instance.id]
        self.of_image[instance.image].remove(instance.id)

    def _move(self, instance: Instance, event: ev.Moved) -> None:
        instance.box = event.box

    def _start(self, instance: Instance, event: ev.Started) -> None:
        instance.grid, instance.grid_box = grid_from_masks(event.masks), instance.box
        instance.started_from = event.source

    def _stroke(self, instance: Instance, event: ev.Stroke) -> None:
        instance.strokes.append(event)

    def _undo(self, instance: Instance, event: ev.Undone) -> None:
        drawn = [k for k, stroke in enumerate(instance.strokes) if stroke.who == event.who]
        if drawn:
            del instance.strokes[drawn[-1]]

    def _sample(self, instance: Instance, event: ev.Sampled) -> None:
        before, instance.points = instance.points, {}
        instance.sampled_regions = event.regions
        for number, region, x, y in event.points:
            instance.points[number] = before.get(number) or Point(region, x, y)
            instance.next_point = max(instance.next_point, number + 1)

    def _answer(self, instance: Instance, event: ev.Answered) -> None:
        point = instance.points[event.point]
        # A point that was answered before has been looked at twice now.
        point.is_confirmed = event.who in point.answers
        point.answers.pop(event.who, None)  # the last answer is the last of the dictionary
        point.answers[event.who] = event

    def _confirm(self, instance: Instance, event: ev.Confirmed) -> None:
        instance.points[event.point].is_confirmed = True

    def _finish(self, instance: Instance, event: ev.Finished) -> None:
        instance.is_finished = event.finished

    def open_photo(self, name: str, start: StartPhoto | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of a photo; ``start`` is asked when it is shown for the first time.

        Raises:
            InputError: it cannot be read, or has another size than in the file that was opened.
        """
        photo = read_photo(self.photos[name])
        height, width = photo.shape[:2]
        if self.sizes.get(name, (width, height)) != (width, height):
            raise InputError(
                f"{name}: is {width} x {height} px, the file of annotations says"
                " {} x {}; correct one of them".format(*self.sizes[name])
            )
        if name not in self.opened:
            boxes = [self.instances[number].box for number in self.of_image[name]]
            found = start(name, photo, boxes) if start is not None else []
            with self.lock:
                if name not in self.opened:
                    self.record(ev.Opened(image=name, width=width, height=height))
                    self._begin_with(name, found)
        return photo

    def _begin_with(self, name: str, found: Sequence[Start]) -> None:
        """Add boxes and regions; regions of a box that is there go to its instance."""
        by_box = {self.instances[number].box: number for number in self.of_image[name]}
        for box, source, masks in found:
            try:
                number = by_box.get(box) or self.add(name, box, source).id
            except InputError as error:  # a box beside the image
                logger.warning("%s; skipped", error)
                continue
            if masks is not None and self.instances[number].grid is None:
                self.record(ev.Started(instance=number, masks=masks, source="model"))

    def cut_box(self, image: str, box: Sequence[float]) -> ev.Box:
        """The part of a box that lies in its image.

        Raises:
            InputError: that is less than a pixel, or nobody has opened the photo.
        """
        if image not in self.sizes:
            raise InputError(f"{image}: open the photo first, its size is not known")
        width, height = self.sizes[image]
        x0, y0 = max(0.0, box[0]), max(0.0, box[1])
        x1, y1 = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
        if x1 - x0 < 1 or y1 - y0 < 1:
            raise InputError(f"{image}: the box {list(box)} is not in the image, or below a pixel")
        return round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)

    def add(self, image: str, box: Sequence[float], source: str, who: str = NOBODY) -> Instance:
        """A new instance with a box in image px, cut to the image.

        Raises:
            InputError: less than a pixel of the box lies in the image.
        """
        box = self.cut_box(image, box)
        with self.lock:
            number = self.next_instance
            self.record(ev.Added(instance=number, image=image, box=box, source=source), who)
            return self.instances[number]

    def sample(self, number: int, who: str) -> None:
        """Choose the points of an instance; answered ones stay where their region still is."""
        with self.lock:
            instance = self.instance(number)
            kept = [(k, p.region, p.x, p.y) for k, p in instance.points.items() if p.answers]
            canvas, box, most = instance.canvas(), instance.box, self.points_per_region
            regions = zlib.crc32(canvas.tobytes())
            if regions == instance.sampled_regions:
                return  # somebody else may be at these points
            points = sample_points(canvas, box, most, kept, instance.next_point, seed=number)
            self.record(ev.Sampled(instance=number, points=points, regions=regions), who)

    def is_blind(self, number: int) -> bool:
        """Whether annotators place the points of an instance without seeing one another's."""
        digest = hashlib.sha256(str(number).encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.overlap * 2**32

    def is_done(self, instance: Instance, who: str) -> bool:
        """Whether an annotator has nothing left to do for an instance."""
        is_blind = self.is_blind(instance.id)
        is_missing = is_blind and any(who not in p.answers for p in instance.points.values())
        return instance.is_finished and not is_missing

    def answer_for(self, instance: Instance, point: Point, who: str) -> ev.Answered | None:
        """The answer that an annotator sees."""
        own = point.answers.get(who)
        return own if own is not None or self.is_blind(instance.id) else point.answer

    def next_photo(self, after: int, who: str) -> int | None:
        """The first photo from ``after`` on, then from the start, that is left to ``who``.

        Finished ones are skipped, and those that somebody else has worked on in the last minutes.
        """
        now = datetime.now(timezone.utc)
        for number in [*range(after, len(self.names)), *range(min(after, len(self.names)))]:
            state = self.progress(self.names[number])
            members = [self.instances[k] for k in self.of_image.get(self.names[number], ())]
            is_finished = bool(members) and all(self.is_done(one, who) for one in members)
            is_taken = state["who"] not in ("", who) and (
                now - datetime.fromisoformat(state["time"]) < _TAKEN
            )
            if not is_finished and not is_taken:
                return number
        return None

    def progress(self, name: str) -> dict[str, Any]:
        """How far a photo is, for the list."""
        found = [self.instances[number] for number in self.of_image.get(name, ())]
        who, time = self.last_seen.get(name, ("", ""))
        return {
            "boxes": len(found),
            "finished": sum(instance.is_finished for instance in found),
            "who": who,
            "time": time,
        }


_EFFECTS = {
    ev.Deleted: Project._delete,
    ev.Moved: Project._move,
    ev.Started: Project._start,
    ev.Stroke: Project._stroke,
    ev.Undone: Project._undo,
    ev.Sampled: Project._sample,
    ev.Answered: Project._answer,
    ev.Confirmed: Project._confirm,
    ev.Finished: Project._finish,
}
