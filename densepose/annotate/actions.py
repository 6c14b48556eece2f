"""What pages ask for: most events as they are, and three requests that become events here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from densepose.errors import InputError

from . import events as ev
from .screen import Screen
from .views import NUM_VIEWS

_LONGEST_NAME = 40


class Add(ev.Event, tag="add"):
    """A new box in a photo, by its number."""

    image: int
    box: ev.Box


class Sample(ev.Event, tag="sample"):
    """Go to step 2: choose the points of an instance."""

    instance: int


class Click(ev.Event, tag="click"):
    """A click on a view of the region of a point."""

    instance: int
    point: int
    view: Annotated[int, Meta(ge=0, lt=NUM_VIEWS)]
    x: ev.Pixel
    y: ev.Pixel


_OfPoints = Sample | Click | ev.Answered | ev.Confirmed | ev.Finished
Actions = Add | ev.Moved | ev.Deleted | ev.Stroke | ev.Undone | _OfPoints
decode_action = msgspec.json.Decoder(Actions).decode


def carry_out(screen: Screen, action: Actions) -> int:
    """Let an action take effect; returns the number of its instance.

    Raises:
        InputError: it is about something that does not exist, or a click is beside the body.
    """
    project, who = screen.project, action.who
    if not 0 < len(who) <= _LONGEST_NAME:
        raise InputError(f"who: expected a name of 1 to {_LONGEST_NAME} letters, got {who!r}")
    if isinstance(action, Add):
        return project.add(project.name_of(action.image), action.box, "annotator", who).id
    if isinstance(action, Sample):
        project.sample(action.instance, who)
    elif isinstance(action, ev.Moved):
        box = project.cut_box(project.instance(action.instance).image, action.box)
        project.record(ev.Moved(instance=action.instance, box=box), who)
    elif isinstance(action, Click):
        project.record(_placed(screen, action), who)
    elif isinstance(action, ev.Answered) and action.kind == "placed":
        raise InputError("points are placed by clicks on a view")
    else:
        project.record(action, who)
    return action.instance


def _placed(screen: Screen, action: Click) -> ev.Answered:
    point = screen.project.instance(action.instance).points.get(action.point)
    if point is None:
        raise InputError(f"instance {action.instance} has no point {action.point}")
    place = screen.views(point.region).place(action.view, action.x, action.y)
    if place is None:
        raise InputError("the click is beside the coloured part of the body")
    return ev.Answered(
        instance=action.instance,
        point=action.point,
        view=action.view,
        x=action.x,
        y=action.y,
        **place._asdict(),
    )
