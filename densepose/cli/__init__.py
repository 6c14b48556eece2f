"""The command line: one file a command, ``densepose COMMAND``.

The module of a command has HELP (one line), EXAMPLE (lines of a shell), ``add_arguments(parser)``
and ``run(args)``, which returns the exit status. It must be quick to import: torch, detectron2 and
whatever else takes time belong into ``run``. What a command does is a function of the package;
``densepose.api`` has the most used ones.
"""

from __future__ import annotations

# In the order in which a newcomer needs them.
VERBS = {
    "predict": "predict",
    "doctor": "doctor",
    "download": "download",
    "make-data": "make_data",
    "annotate": "annotate",
    "check-data": "check_data",
    "train": "train",
    "evaluate": "evaluate",
    "score": "score",
    "report": "report",
    "inpaint": "inpaint",
    "texture": "texture",
    "build-surface": "build_surface",
    "convert": "convert",
}
