"""Which room may import which: data flows one way, and the lower rooms know nothing of the upper.

cli, tools, engine, ...         wiring, may import everything
config                          keys and their checks, which know the registries of modeling
data modeling evaluation vis    never one another
synthetic                       rendered people; beside data
structures                      what travels between them
surface  ops                    geometry of the body; operators
files  structures.body_parts    writing and hashing; constants; everybody may import them
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "densepose"
FOUNDATION = {"surface", "ops", "structures"}
EVERYBODY = ("files.", "structures.body_parts.")  # they import nothing of the package
MAY_IMPORT = {
    "surface": set(),
    "ops": set(),
    "structures": {"surface", "ops"},
    "synthetic": {"surface", "structures"},
    "data": FOUNDATION,
    "modeling": FOUNDATION,
    "evaluation": FOUNDATION,
    "vis": FOUNDATION,
    "config": {"data", "modeling"} | FOUNDATION,
}
# What runs on NumPy alone, or at least without detectron2, has to stay so.
DOES_WITHOUT = {
    "surface": {"torch", "torchvision", "detectron2"},
    "structures": {"detectron2"},
    "synthetic": {"torch", "torchvision", "detectron2"},
    "evaluation": {"detectron2"},
    "vis": {"detectron2"},
}
EXCEPT = {
    ("evaluation/evaluator.py", "detectron2"),  # the one file that a training loop talks to
}
GEOMETRY = {"anny", "warp", "igl", "trimesh"}


def imported_modules(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """Full dotted name and line of everything a file imports, in functions too.

    ``from a import b`` gives ``a.b``: b may be a module.
    """
    folder = path.relative_to(package.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) + 1 - node.level] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def wrong_rooms(package: Path) -> list[str]:
    """Imports of another room that the table above does not allow."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if place.parts[0] not in MAY_IMPORT:
            continue
        allowed = MAY_IMPORT[place.parts[0]] | {place.parts[0]}
        for name, line in imported_modules(path, package):
            top, _, rest = name.partition(".")
            room = rest.split(".")[0]
            # `from densepose import x` of something that is neither room nor file is a plain name.
            is_module = (package / room).is_dir() or (package / f"{room}.py").is_file()
            if not (top == package.name and room and is_module) or f"{rest}.".startswith(EVERYBODY):
                continue
            if room not in allowed:
                found.append(f"{place}:{line}: {place.parts[0]} imports {room}")
    return found


def forbidden_packages(package: Path) -> list[str]:
    """Imports of other people's packages that a room has to do without."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        forbidden = DOES_WITHOUT.get(place.parts[0], set()) | {"tools"}
        for name, line in imported_modules(path, package):
            top = name.split(".")[0]
            if top in forbidden and (place.as_posix(), top) not in EXCEPT:
                found.append(f"{place}:{line}: imports {top}")
    return found


def test_rooms_import_only_downwards():
    assert wrong_rooms(PACKAGE) == []


def test_rooms_do_without_what_they_promise_to_do_without():
    assert forbidden_packages(PACKAGE) == []


def test_packages_for_geometry_are_imported_by_surface_alone():
    found = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        for name, _ in imported_modules(path, PACKAGE)
        if name.split(".")[0] in GEOMETRY
    }
    assert found <= {"surface"}


@pytest.mark.parametrize("module", ["densepose", "densepose.synthetic.dataset"])
def test_importing_the_package_or_its_renderer_imports_nothing_heavy(module):
    code = f"import {module}, sys; print([m for m in ('torch', 'detectron2') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("place", "line", "complaint"),
    [
        (
            "surface/a.py",
            "from densepose.structures import prediction",
            "surface imports structures",
        ),
        ("data/deep/a.py", "from ...modeling.heads import Head", "data imports modeling"),
        ("vis/a.py", "from .. import engine", "vis imports engine"),
        ("ops/a.py", "def f():\n    import densepose.data", "ops imports data"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(tmp_path, place, line, complaint):
    package = tmp_path / "densepose"
    for room in (*MAY_IMPORT, "engine", "data/deep"):
        (package / room).mkdir(parents=True, exist_ok=True)
    (package / place).write_text(line)
    (found,) = wrong_rooms(package)
    assert found.endswith(complaint)


def test_an_import_of_a_forbidden_package_is_found(tmp_path):
    package = tmp_path / "densepose"
    (package / "surface").mkdir(parents=True)
    (package / "surface" / "a.py").write_text("import numpy\nimport torch.nn as nn\n")
    (package / "b.py").write_text("from tools import train_net\n")
    assert forbidden_packages(package) == [
        "b.py:1: imports tools",
        "surface/a.py:2: imports torch",
    ]
