"""How well people annotate: agreement with one another, and errors where the truth is known.

Errors are distances along the surface of the resting body. The paper has the same measure on
rendered images (Fig. 5): about 2 cm on head, hands and feet, up to 7 cm on torso and thighs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densepose.evaluation.metrics import AUC_LIMITS_M, area_under_rcp
from densepose.files import markdown_table
from densepose.structures.body_parts import PART_NAMES, UV_STEPS
from densepose.vis.iuv_image import read_iuv_png

from . import events as ev
from .body import Body
from .project import Project


@dataclass
class Distances:
    """Distances between pairs of places, by the part of the first."""

    part: list[int] = field(default_factory=list)
    cm: list[float] = field(default_factory=list)

    def rows(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """Number, mean and median of every part that has some, then of all."""
        part, cm = np.array(self.part, int), np.array(self.cm)
        members = [(name, cm[part == number]) for number, name in enumerate(names)]
        members.append(("all", cm))
        return [
            {
                "part": name,
                "points": len(values),
                "mean_cm": round(float(values.mean()), 2),
                "median_cm": round(float(np.median(values)), 2),
            }
            for name, values in members
            if len(values)
        ]

    def mean_cm(self) -> dict[int, float]:
        """Mean of every part that has some."""
        part, cm = np.array(self.part, int), np.array(self.cm)
        return {number: float(cm[part == number].mean()) for number in np.unique(part).tolist()}

    def auc(self) -> dict[str, float]:
        """The paper's AUC10 and AUC30 of a human annotator."""
        metres = np.array(self.cm) / 100
        return {
            name: round(float(area_under_rcp(metres, limit).mean()), 3)
            for name, limit in AUC_LIMITS_M.items()
            if len(metres)
        }


@dataclass
class QualityReport:
    """What the annotators of a project can be compared by."""

    part_names: tuple[str, ...]
    agreement: Distances = field(default_factory=Distances)
    test: Distances = field(default_factory=Distances)
    beside: int = 0  # points of tests that lie beside the rendered person

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for a JSON file and the page."""
        return {
            "agreement_cm": self.agreement.rows(self.part_names),
            "test_cm": self.test.rows(self.part_names),
            "test_auc": self.test.auc(),
            "test_points_beside_the_person": self.beside,
        }

    def text(self) -> str:
        """Tables for the terminal; empty without anything to compare."""
        blocks = []
        for title, found in (
            ("Agreement of annotators, cm along the surface", self.agreement),
            ("Errors on rendered images with known truth, cm along the surface", self.test),
        ):
            rows = [[str(value) for value in row.values()] for row in found.rows(self.part_names)]
            if rows:
                header = ["part", "points", "mean cm", "median cm"]
                blocks.append(f"{title}:\n{markdown_table(header, rows)}")
        if auc := self.test.auc():
            measures = ", ".join(f"{name.upper()} {value}" for name, value in auc.items())
            blocks.append(f"{measures}; {self.beside} points beside the rendered person")
        return "\n\n".join(blocks)


def quality_report(project: Project) -> QualityReport:
    """Compare all answers of a project."""
    with project.lock:
        instances = list(project.instances.values())
        answers = [list(p.answers.values()) for i in instances for p in i.points.values()]
    body = project.body
    names = PART_NAMES if body.is_template else tuple(f"part {k}" for k in range(len(PART_NAMES)))
    report = QualityReport(names)
    pairs = [
        pair
        for given in answers
        for pair in combinations([a for a in given if a.kind == "placed"], 2)
    ]
    if pairs:
        _compare(report.agreement, body, _places(a for a, _ in pairs), _places(b for _, b in pairs))
    for name in project.truth:
        _add_test(report, project, name)
    return report


def _add_test(report: QualityReport, project: Project, name: str) -> None:
    """Compare the answers in a rendered image with what its pixels show."""
    with project.lock:
        found = [
            (point, answer)
            for number in project.of_image.get(name, ())
            for point in project.instances[number].points.values()
            for answer in point.answers.values()
            if answer.kind == "placed"
        ]
    if not found:
        return
    iuv = read_iuv_png(project.truth[name])
    column, row = np.floor([(p.x, p.y) for p, _ in found]).astype(int).T
    height, width = iuv.shape[:2]
    truth = iuv[row.clip(0, height - 1), column.clip(0, width - 1)]
    part = truth[:, 0].astype(np.int64)
    on_body = part > 0
    report.beside += int((~on_body).sum())
    given = _places(answer for _, answer in found)
    if on_body.any():
        _compare(
            report.test,
            project.body,
            (part[on_body], truth[on_body, 1:] / UV_STEPS),
            (given[0][on_body], given[1][on_body]),
        )


def _places(answers: Iterable[ev.Answered]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(P,) parts and (P, 2) coordinates."""
    listed = list(answers)
    return np.array([a.part for a in listed]), np.array([(a.u, a.v) for a in listed])


def _compare(
    into: Distances,
    body: Body,
    first: tuple[NDArray, NDArray],
    second: tuple[NDArray, NDArray],
) -> None:
    into.part += first[0].tolist()
    into.cm += (100 * body.distance_m(first, second)).tolist()
