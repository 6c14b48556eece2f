"""The weights of a file under the names of a model's parameters.

Files of other programs (Caffe2, torchvision) name the same layers differently. Caffe2's names are
rewritten by detectron2; what is left is that a file knows only the end of a model's name:
``res2.0.conv1.weight`` for ``backbone.bottom_up.res2.0.conv1.weight``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

if TYPE_CHECKING:
    from .weights_file import WeightsFile

BACKBONE = "backbone.bottom_up."


def match_names(file: WeightsFile, model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file under the names of the model's parameters.

    Unlike detectron2's own matching this keeps weights of another shape and those that the model
    has no place for, so that they can be told.

    Args:
        file: as read.
        model: ``state_dict()``.

    Raises:
        ValueError: one weight of the file fits two of the model, or the names cannot be rewritten.
    """
    if file.name_matching == "exact":
        return _at_the_backbone(file.weights, model)
    weights = file.weights
    if file.name_matching == "caffe2":
        weights = rename_caffe2(str(file.path), weights)
    return _match_ends(str(file.path), weights, model)


def _at_the_backbone(
    weights: Mapping[str, Tensor], model: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A backbone's own state dict (as HRNet's authors give it) under the names of the model.

    Any other file, one of whose names is the model's, stays as it is.
    """
    if any(name in model for name in weights):
        return dict(weights)
    placed = {name: f"{BACKBONE}{name}" for name in weights if f"{BACKBONE}{name}" in model}
    return {placed.get(name, name): value for name, value in weights.items()}


def rename_caffe2(source: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Caffe2's names rewritten to the ends of detectron2's names; class 0 becomes the last.

    Raises:
        ValueError: two names become one, or a weight has not the shape its name asks for.
    """
    try:
        renamed, _ = convert_c2_detectron_names(dict(weights))
    except (AssertionError, IndexError) as error:
        raise ValueError(
            f"{source}: its names are not those of a Caffe2 model ({error or 'two became one'});"
            " if it came from another program, save model.state_dict() with torch.save"
        ) from error
    return renamed


def _match_ends(
    source: str, weights: Mapping[str, Tensor], model: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The longest name of the file that is an end, from a dot on, of a name of the model."""
    places = defaultdict(list)
    for name in model:
        end = next((end for end in _ends(name) if end in weights), None)
        if end is not None:
            places[end].append(name)
    found, left_over = {}, {}
    for end, value in weights.items():
        fitting = [name for name in places[end] if model[name].shape == value.shape]
        if len(fitting) > 1:
            raise ValueError(
                f"{source}: {end!r} fits {fitting[0]!r} and {fitting[1]!r}; give the weights the"
                " model's full names (densepose convert with --config-file writes such a file)"
            )
        chosen = fitting or places[end]
        (found if chosen else left_over)[chosen[0] if chosen else end] = value
    return left_over | found


def _ends(name: str) -> Iterator[str]:
    """'a.b.c' -> 'a.b.c', 'b.c', 'c'."""
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name
