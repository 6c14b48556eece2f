"""Which categories of which data set a model learns, and under which class number.

DATASETS.WHITELISTED_CATEGORIES keeps some categories of a data set and drops the people,
animals and things of all others; DATASETS.CATEGORY_MAPS counts a category as another one. Both go
by the ids of the annotation file. Animals mapped to the id of the person give a class-agnostic
detector of bodies, as the master model of Sanakoyeu et al., CVPR 2020, is.

Class numbers are the ranks of the ids that are left after mapping, over all training sets
together, as in detectron2's DensePose.

Scores of DensePose are of one class: the person, or with category maps everything that is counted
as a person.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from densepose.errors import InputError

logger = logging.getLogger(__name__)

Categories = Mapping[int, str]  # id -> name, of one annotation file


@dataclass(frozen=True)
class CategoryRule:
    """What a config says about the categories of one data set."""

    keep: tuple[int, ...] | None = None  # ids to read; None: all of the file
    counted_as: Mapping[int, int] = field(default_factory=dict)  # id -> id


@dataclass(frozen=True)
class ClassTable:
    """The classes of some data sets together."""

    names: tuple[str, ...]  # of the classes, by number
    class_of: Mapping[str, Mapping[int, int]]  # data set -> category id -> class number


def rules_from_config(cfg: CfgNode) -> dict[str, CategoryRule]:
    """The rules of each data set that has some.

    Raises:
        InputError: a whitelist is not a list of ids, or a map is not a mapping of ids to ids.
    """
    keep = {
        name: _ids(ids, f"DATASETS.WHITELISTED_CATEGORIES.{name}")
        for name, ids in cfg.DATASETS.get("WHITELISTED_CATEGORIES", {}).items()
    }
    maps = {
        name: _id_map(ids, f"DATASETS.CATEGORY_MAPS.{name}")
        for name, ids in cfg.DATASETS.get("CATEGORY_MAPS", {}).items()
    }
    names = dict.fromkeys([*keep, *maps])
    return {name: CategoryRule(keep.get(name), maps.get(name, {})) for name in names}


def _ids(value: Any, key: str) -> tuple[int, ...]:
    ids = value if isinstance(value, (list, tuple)) else None
    if not ids or not all(isinstance(number, int) for number in ids):
        raise InputError(f"{key} must be a list of category ids such as [1, 16], got {value!r}")
    return tuple(ids)


def _id_map(value: Any, key: str) -> dict[int, int]:
    try:
        # YAML writes the ids as text, because keys of a config are text.
        return {int(source): int(target) for source, target in value.items()}
    except (AttributeError, TypeError, ValueError):
        got = dict(value) if isinstance(value, Mapping) else value
        raise InputError(
            f'{key} must map category ids to ids as in {{"16": 1}}, got {got!r}'
        ) from None


def class_table(
    categories: Mapping[str, Categories], rules: Mapping[str, CategoryRule]
) -> ClassTable:
    """Classes of data sets that are used together.

    A class has the name of the category whose id it keeps; where data sets disagree on it, the
    last one's.

    Args:
        categories: of each data set, all that were read of its file.
        rules: of the data sets that have some.

    Raises:
        InputError: a whitelisted category is not in the data set, or a category is counted as one
            that no data set has.
    """
    merged: dict[str, dict[int, int]] = {}
    names: dict[int, str] = {}
    known: dict[int, str] = {}
    for dataset, named in categories.items():
        rule = rules.get(dataset, CategoryRule())
        kept = tuple(named) if rule.keep is None else rule.keep
        unknown = sorted(set(kept) - set(named))
        if unknown:
            raise InputError(
                f"DATASETS.WHITELISTED_CATEGORIES.{dataset} names {unknown}, which the data set"
                f" does not have; it has {_shortened(named)}"
            )
        merged[dataset] = {number: rule.counted_as.get(number, number) for number in kept}
        names |= {number: named[number] for number in kept if merged[dataset][number] == number}
        known |= dict(named)
    left = sorted({target for table in merged.values() for target in table.values()})
    for dataset, table in merged.items():
        lost = sorted(set(table.values()) - set(known))
        if lost:
            raise InputError(
                f"DATASETS.CATEGORY_MAPS.{dataset} counts categories as {lost}, which none of"
                f" {', '.join(categories)} has"
            )
    number_of = {category: number for number, category in enumerate(left)}
    return ClassTable(
        names=tuple(names.get(category, known[category]) for category in left),
        class_of={
            dataset: {source: number_of[target] for source, target in table.items()}
            for dataset, table in merged.items()
        },
    )


def relabel(
    records: Iterable[Mapping[str, Any]],
    category_ids: Sequence[int],
    class_of: Mapping[int, int],
    dataset: str,
) -> list[dict[str, Any]]:
    """Dataset dicts with the classes of a table.

    Args:
        records: dataset dicts whose ``category_id`` is the data set's own class number; not
            changed.
        category_ids: id in the annotation file of each of these numbers.
        class_of: category id -> class number; annotations of other categories are dropped.
        dataset: name, for the summary in the log.
    """
    target = [class_of.get(category, -1) for category in category_ids]
    relabelled, total, kept = [], 0, 0
    for record in records:
        people = record.get("annotations", [])
        chosen = [
            {**person, "category_id": target[person["category_id"]]}
            for person in people
            if target[person["category_id"]] >= 0
        ]
        total, kept = total + len(people), kept + len(chosen)
        relabelled.append({**record, "annotations": chosen})
    logger.info("%s: %d of %d annotations have a category that is read", dataset, kept, total)
    return relabelled


def category_ids_of(name: str) -> tuple[int, ...]:
    """Category ids of a loaded set by its own class numbers.

    Raises:
        InputError: its metadata do not say them.
    """
    numbers = MetadataCatalog.get(name).get("thing_dataset_id_to_contiguous_id")
    if numbers is None:
        raise InputError(
            f"{name}: its metadata have no thing_dataset_id_to_contiguous_id, so that"
            " DATASETS.WHITELISTED_CATEGORIES and CATEGORY_MAPS cannot apply to sets used with it"
        )
    return tuple(sorted(numbers, key=numbers.__getitem__))


def _shortened(named: Categories, most: int = 12) -> str:
    shown = ", ".join(f"{number} ({name})" for number, name in list(named.items())[:most])
    return shown + (f" and {len(named) - most} more" if len(named) > most else "")


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
        InputError: several classes are left and none of them is "person".
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
        raise InputError(
            f"{name} has the classes {', '.join(table.names)}, and scores are of one class: count"
            " them as one category by DATASETS.CATEGORY_MAPS, or keep one by WHITELISTED_CATEGORIES"
        )
    number = table.names.index(PERSON) if len(table.names) > 1 else 0
    ids = [source for source, target in table.class_of[name].items() if target == number]
    # The category that gives the class its name stands for it.
    return EvaluatedClass(number, tuple(sorted(ids, key=lambda i: named[i] != table.names[number])))
