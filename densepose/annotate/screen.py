"""What one annotator sees of an instance: its regions, its points, and which view to click next."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from densepose.errors import InputError

from . import events as ev
from .instance import Instance
from .points import expected_normals, suspicious
from .project import Project
from .views import NUM_VIEWS, RegionViews


class Screen:
    """The project as its pages show it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        # One at a time: a second request for the same region waits for the first.
        self._lock = threading.Lock()
        self._prepared: set[int] = set()
        self._painter = ThreadPoolExecutor(max_workers=1)
        self._views = functools.cache(lambda region: RegionViews(project.body, region))

    def state(self, instance: Instance, who: str) -> dict[str, Any]:
        """An instance as JSON: regions, points, where they are in the views, what to ask next."""
        points = {
            number: {"id": number, "region": p.region, "x": p.x, "y": p.y}
            for number, p in instance.points.items()
        }
        seen = {
            number: answer
            for number, p in instance.points.items()
            if (answer := self.project.answer_for(instance, p, who)) is not None
        }
        placed = {number: answer for number, answer in seen.items() if answer.kind == "placed"}
        for number, answer in seen.items():
            points[number]["kind"] = answer.kind
        normals = self._show(instance, placed, points)
        asked = [number for number in points if number not in placed]
        self._choose_views(instance, asked, placed, normals, points)
        return {
            "id": instance.id,
            "box": instance.box,
            "version": instance.version,
            "finished": self.project.is_done(instance, who),
            "regions": np.unique(instance.canvas()[instance.canvas() > 0]).tolist(),
            "points": list(points.values()),
            "doubtful": self._doubtful(instance, placed) if len(seen) == len(points) else [],
        }

    def _show(
        self, instance: Instance, placed: dict[int, ev.Answered], points: dict[int, dict]
    ) -> np.ndarray:
        """Adds where placed points are in the views; returns the normals there, (P, 3)."""
        normals = np.zeros((len(placed), 3))
        row = {number: k for k, number in enumerate(placed)}
        for region in {instance.points[number].region for number in placed}:
            members = [n for n in placed if instance.points[n].region == region]
            part = np.array([placed[n].part for n in members])
            uv = np.array([(placed[n].u, placed[n].v) for n in members])
            views = self.views(region)
            shown = views.show(part, uv)
            normals[[row[n] for n in members]] = views.normals_at(part, uv)
            best = np.where(shown.visible, shown.frontal, -1).argmax(axis=0)
            for k, number in enumerate(members):
                xy = np.column_stack([shown.xy[:, k].round(1), shown.visible[:, k]])
                points[number] |= {"part": int(part[k]), "shown": xy.tolist(), "view": int(best[k])}
        return normals

    def _choose_views(
        self,
        instance: Instance,
        asked: list[int],
        placed: dict[int, ev.Answered],
        normals: np.ndarray,
        points: dict[int, dict],
    ) -> None:
        """Adds the view that is likely to show each point that has not been placed."""
        if not asked:
            return

        def places(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
            found = [instance.points[n] for n in numbers]
            xy = np.array([(p.x, p.y) for p in found]).reshape(-1, 2)
            return xy, np.array([p.region for p in found], int)

        expected = expected_normals(
            places(asked), places(list(placed)), normals, max(instance.box[2:])
        )
        expected[~expected.any(axis=1)] = (0, 0, 1)  # the front, to begin with
        for number, direction in zip(asked, expected, strict=True):
            views = self.views(instance.points[number].region)
            points[number]["view"] = int((views.direction @ direction).argmax())

    def _doubtful(self, instance: Instance, placed: dict[int, ev.Answered]) -> list[int]:
        """Points to show again, once all have been answered."""
        if not placed:
            return []
        found = [instance.points[number] for number in placed]
        is_odd = suspicious(
            np.array([(p.x, p.y) for p in found]),
            np.array([p.region for p in found]),
            np.array([a.part for a in placed.values()]),
            np.array([(a.u, a.v) for a in placed.values()]),
            self.project.body,
        )
        return [
            number
            for number, p, odd in zip(placed, found, is_odd, strict=True)
            if odd and not p.is_confirmed
        ]

    def views(self, region: int) -> RegionViews:
        """The views of a region, made when they are first needed."""
        if not 1 <= region <= len(self.project.body.region_names):
            raise InputError(f"region {region}: there are {len(self.project.body.region_names)}")
        with self._lock:
            return self._views(region)

    def picture(self, region: int, view: int) -> bytes:
        """One of the six pictures of a region, PNG."""
        views = self.views(region)
        if not 0 <= view < NUM_VIEWS:
            raise InputError(f"view {view}: there are {NUM_VIEWS}")
        return views.picture(view)

    def prepare(self, region: int) -> None:
        """Draw the pictures of a region in the background: its points are asked for later."""
        with self._lock:
            if 1 <= region <= len(self.project.body.region_names) and region not in self._prepared:
                self._prepared.add(region)
                for view in range(NUM_VIEWS):
                    self._painter.submit(self.picture, region, view)

    def close(self) -> None:
        """Stop drawing."""
        self._painter.shutdown(cancel_futures=True)
