"""Which package may import which: data flows one way, lower packages know nothing of upper ones.

cli                             commands, may import everything
prediction  inpainting  report  what commands call
annotate                        beside them; starts from a model that prediction loads
engine                          wires data, model, evaluation and the machine together by a config
config  model_zoo               keys and their checks; names and files of released weights
data modeling evaluation vis    never one another
synthetic                       rendered people; beside data
structures                      what travels between them
surface  ops                    geometry of the body; operators
errors files progress workers   mistakes, writing, bars, processes: everybody may import them
structures.body_parts           constants of the body; as well
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "densepose"
FOUNDATION = {"surface", "ops", "structures"}
EVERYBODY = ("errors.", "files.", "progress.", "workers.", "structures.body_parts.")
CONFIG = {"data", "modeling"} | FOUNDATION
ENGINE = {"config", "model_zoo", "evaluation"} | CONFIG
MAY_IMPORT = {
    "surface": set(),
    "ops": set(),
    "structures": {"surface", "ops"},
    "synthetic": {"surface", "structures"},
    "data": FOUNDATION,
    "modeling": FOUNDATION,
    "evaluation": FOUNDATION,
    "vis": FOUNDATION,
    "config": CONFIG,
    "model_zoo": CONFIG | {"config"},
    "engine": ENGINE,
    "prediction": {"engine", "vis"} | ENGINE,
    "inpainting": {"engine", "vis"} | ENGINE,
    "report": {"engine", "vis"} | ENGINE,
    "annotate": {"prediction", "engine", "vis"} | ENGINE,
    "cli": {"annotate", "prediction", "inpainting", "report", "synthetic", "engine", "vis"}
    | ENGINE,
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
    ("model_zoo/loading.py", "engine"),  # builds the model whose files the package knows
}
GEOMETRY = {"anny", "warp", "igl", "trimesh"}
STARTS = ("densepose", "densepose.cli.__main__")


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
        elif path.name == "__init__.py" and isinstance(node, ast.Constant):
            # Tables of modules that are imported when they are needed.
            if str(node.value).isidentifier() and path.with_name(f"{node.value}.py").is_file():
                yield ".".join([*folder, node.value]), node.lineno


def wrong_imports(package: Path) -> list[str]:
    """Imports of another package that the table above does not allow."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        if len(place.parts) == 1:
            continue
        layer = place.parts[0]
        allowed = MAY_IMPORT[layer] | {layer}
        for name, line in imported_modules(path, package):
            top, _, rest = name.partition(".")
            other = rest.split(".")[0]
            # `from densepose import x` of something that is no module is a plain name.
            is_module = (package / other).is_dir() or (package / f"{other}.py").is_file()
            if not (top == package.name and other and is_module) or f"{rest}.".startswith(
                EVERYBODY
            ):
                continue
            if other not in allowed and (place.as_posix(), other) not in EXCEPT:
                found.append(f"{place}:{line}: {place.parts[0]} imports {other}")
    return found


def forbidden_packages(package: Path) -> list[str]:
    """Imports of other people's packages that a package has to do without."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        forbidden = DOES_WITHOUT.get(place.parts[0], set()) | {"tools", "tests"}
        for name, line in imported_modules(path, package):
            top = name.split(".")[0]
            if top in forbidden and (place.as_posix(), top) not in EXCEPT:
                found.append(f"{place}:{line}: imports {top}")
    return found


def unreached(package: Path) -> list[str]:
    """Files that neither a command nor ``import densepose`` leads to."""
    files = {
        path.relative_to(package.parent).with_suffix("").as_posix().replace("/", "."): path
        for path in package.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    reached: set[str] = set()
    waiting = list(STARTS)
    while waiting:
        name = waiting.pop()
        if name in modules and name not in reached:
            reached.add(name)
            imported = [one for one, _ in imported_modules(modules[name], package)]
            # Of a.b.c, a and a.b are imported as well; c may be a plain name.
            waiting += [
                one.rsplit(".", k)[0] for one in imported for k in range(one.count(".") + 1)
            ]
    return sorted(modules.keys() - reached)


def test_packages_import_only_downwards():
    assert wrong_imports(PACKAGE) == []


def test_every_package_is_in_the_table_and_the_table_has_no_circle():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert MAY_IMPORT.keys() == packages
    tuple(graphlib.TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError


def test_packages_do_without_what_they_promise_to_do_without():
    assert forbidden_packages(PACKAGE) == []


def test_the_package_has_no_file_that_only_tools_and_tests_use():
    assert unreached(PACKAGE) == []


def test_packages_for_geometry_are_imported_by_surface_alone():
    found = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        for name, _ in imported_modules(path, PACKAGE)
        if name.split(".")[0] in GEOMETRY
    }
    assert found <= {"surface"}


def test_no_test_module_imports_another():
    """What several of them need is in tests/support; that may be imported, and no tests."""
    tests = ROOT / "tests"
    found = [
        f"{path.relative_to(tests)}:{line}: imports {name}"
        for path in sorted(tests.rglob("*.py"))
        for name, line in imported_modules(path, tests)
        if name.startswith("tests.") and not name.startswith("tests.support")
    ]
    assert found == []
    assert [path.name for path in (tests / "support").rglob("test_*")] == []


@pytest.mark.parametrize("module", ["densepose", "densepose.synthetic.dataset"])
def test_importing_the_package_or_its_renderer_imports_nothing_heavy(module):
    code = f"import {module}, sys; print([m for m in ('torch', 'detectron2') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("place", "line", "complaint"),
    [
        ("surface/a.py", "from densepose.structures import prediction", "imports structures"),
        ("data/deep/a.py", "from ...modeling.heads import Head", "data imports modeling"),
        ("vis/a.py", "from .. import engine", "vis imports engine"),
        ("ops/a.py", "def f():\n    import densepose.data", "ops imports data"),
        ("engine/a.py", "from densepose.cli.parser import VerbParser", "engine imports cli"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(tmp_path, place, line, complaint):
    package = tmp_path / "densepose"
    for folder in (*MAY_IMPORT, "data/deep"):
        (package / folder).mkdir(parents=True, exist_ok=True)
    (package / place).write_text(line)
    (found,) = wrong_imports(package)
    assert found.endswith(complaint)


def test_an_import_of_a_forbidden_package_and_a_file_that_nothing_needs_are_found(tmp_path):
    package = tmp_path / "densepose"
    (package / "surface").mkdir(parents=True)
    (package / "__init__.py").write_text("_LAZY = {'Mesh': 'b'}\n")
    (package / "surface" / "a.py").write_text("import numpy\nimport torch.nn as nn\n")
    (package / "b.py").write_text("from tools import train_net\n")
    assert forbidden_packages(package) == [
        "b.py:1: imports tools",
        "surface/a.py:2: imports torch",
    ]
    assert unreached(package) == ["densepose.surface.a"]
