"""The command line: one file a verb, ``densepose VERB``.

A verb's module has HELP (one line), EXAMPLE (lines of a shell), ``add_arguments(parser)`` and
``run(args)``, which returns the exit status. It must be quick to import: torch, detectron2 and
whatever else takes time belong into ``run``.
"""

from __future__ import annotations

# In the order in which a newcomer needs them.
VERBS = {
    "demo": "demo",
    "doctor": "doctor",
    "make-data": "make_data",
    "check-data": "check_data",
    "prepare-evaluation": "prepare_evaluation",
    "fetch": "fetch",
    "train": "train",
    "evaluate": "evaluate",
    "predict": "predict",
    "inpaint": "inpaint",
    "texture": "texture",
    "build-surface": "build_surface",
    "convert": "convert",
}
