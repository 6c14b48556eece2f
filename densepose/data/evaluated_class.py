"""Which class of a model a data set scores, and which categories of its file count as it.

Scores of DensePose are of one class: the person, or with category maps everything that is counted
as a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from .category_maps import CategoryRule, class_table
from .training_records import category_ids_of

PERSON = "person"


class EvaluatedClass(NamedTuple):
    """What is scored on a data set."""

    number: int  # of the class
    # Ids in the annotation file; None: the file's only category, or the one called "person".
    category_ids: tuple[int, ...] | None


def evaluated_class(name: str, rules: Mapping[str, CategoryRule]) -> EvaluatedClass:
    """The class of a registered set; loads the set if a rule applies to it and it is not yet.

    Args:
        name: of the data set.
        rules: categories to keep and to count as others, of the data sets that have some.

    Raises:
        ValueError: several classes are left and none of them is "person".
    """
    metadata = MetadataCatalog.get(name)
    if name not in rules:
        names = metadata.get("thing_classes", [PERSON])
        return EvaluatedClass(names.index(PERSON) if PERSON in names else 0, None)
    if metadata.get("thing_dataset_id_to_contiguous_id") is None:
        DatasetCatalog.get(name)
    named = dict(zip(category_ids_of(name), metadata.thing_classes, strict=True))
    table = class_table({name: named}, rules)
    if len(table.names) > 1 and PERSON not in table.names:
        raise ValueError(
            f"{name} has the classes {', '.join(table.names)}, and scores are of one class: count"
            " them as one category by DATASETS.CATEGORY_MAPS, or keep one by WHITELISTED_CATEGORIES"
        )
    number = table.names.index(PERSON) if len(table.names) > 1 else 0
    ids = [source for source, target in table.class_of[name].items() if target == number]
    # The category that gives the class its name stands for it.
    return EvaluatedClass(number, tuple(sorted(ids, key=lambda i: named[i] != table.names[number])))
