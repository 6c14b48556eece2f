"""What pages ask for: checked requests, which become events."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from densepose.errors import InputError

from . import events as ev
from .screen import Screen


class Action(msgspec.Struct, tag_field="do", kw_only=True):
    """What a page may ask for; ``who`` is the name of the annotator."""

    who: ev.Name


class Box(Action, tag="box"):
    """A new box in photo ``image``, or another box of an instance."""

    box: ev.Box
    image: int = -1
    instance: int = -1


class Draw(Action, tag="stroke"):
    """See ``events.Stroke``."""

    instance: int
    region: ev.Region
    tool: Literal["polygon", "brush"]
    xy: Annotated[list[tuple[ev.Pixel, ev.Pixel]], Meta(min_length=1, max_length=5000)]
    width: Annotated[float, Meta(ge=0, le=1e4)] = 0


class Simple(Action, tag="simple"):
    """An action without more than its name."""

    instance: int
    what: Literal["undo", "sample", "finish", "reopen", "delete"]


class Click(Action, tag="click"):
    """A click on a view of the region of a point."""

    instance: int
    point: int
    view: Annotated[int, Meta(ge=0, le=5)]
    x: ev.Pixel
    y: ev.Pixel


class NoPlace(Action, tag="no_place"):
    """A point is skipped, cannot be seen, or a suspicious one is right."""

    instance: int
    point: int
    why: Literal["hidden", "skipped", "confirmed"]


Actions = Box | Draw | Simple | Click | NoPlace
decode_action = msgspec.json.Decoder(Actions).decode


def carry_out(screen: Screen, action: Actions) -> int:
    """Let an action take effect; returns the number of its instance.

    Raises:
        InputError: it is about something that does not exist, or a click is beside the body.
    """
    project, who = screen.project, action.who
    if isinstance(action, Box) and action.instance < 0:
        return project.add(project.name_of(action.image), action.box, "annotator", who).id
    number = action.instance
    event: ev.Events
    if isinstance(action, Box):
        event = ev.Moved(instance=number, box=action.box)
    elif isinstance(action, Draw):
        event = ev.Stroke(
            instance=number,
            region=action.region,
            tool=action.tool,
            xy=action.xy,
            width=action.width,
        )
    elif isinstance(action, Click):
        event = _placed(screen, action)
    elif isinstance(action, NoPlace) and action.why == "confirmed":
        event = ev.Confirmed(instance=number, point=action.point)
    elif isinstance(action, NoPlace):
        event = ev.Answered(instance=number, point=action.point, kind=action.why)
    elif action.what == "sample":
        project.sample(number, who)
        return number
    elif action.what in ("finish", "reopen"):
        event = ev.Finished(instance=number, finished=action.what == "finish")
    else:
        event = {"undo": ev.Undone, "delete": ev.Deleted}[action.what](instance=number)
    project.record(event, who)
    return number


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
