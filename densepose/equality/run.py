"""The whole comparison: every chart config of a checkout in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from densepose.benchmark.contestants import PACKAGE, Contestant
from densepose.config import config_dir

from .compare import Equality, compare_results, names_digest
from .configs import group_by_model, project_of
from .kept import KeptResults, sources_digest, versions
from .our_model import (
    accelerated_maps,
    load_checked,
    our_results,
    strict_model,
    with_views,
    write_checkpoint,
)
from .two_iterations import small_config, train_two_iterations, write_data
from .views import CONFIG as VIEWS_CONFIG
from .views import TurnError, ViewEquality, compare_turns, compare_views, mirror_table

SERVER = Path(__file__).with_name("upstream_model.py")
# A key of this package, and addresses: released weights have names here (zoo://...).
OWN_KEYS = {"SOLVER.REFERENCE_BATCH_SIZE", "BOOTSTRAP_MODEL.WEIGHTS"}


@dataclass(frozen=True)
class Findings:
    """All that was measured."""

    equalities: list[Equality]
    views: list[ViewEquality]
    turns: list[TurnError]
    two_iterations: dict[str, list[float]]  # config -> total losses
    shipped: dict[str, list[str]]  # config -> keys that differ from ours of the same name


def run_comparison(
    checkout: Path,
    names: Sequence[str],
    *,
    seed: int = 0,
    opts: Sequence[str] = (),
    keep: Path | None = None,
    tell: Callable[[str], None] = print,
) -> Findings:
    """Compare models, views, configs; train every config for two iterations.

    The results of each config are the same whichever others are compared with it.

    Args:
        checkout: folder of a checkout of detectron2.
        names: of its configs, see ``chart_configs``.
        seed: of weights and inputs.
        opts: KEY VALUE pairs for both sides.
        keep: folder in which each config's results outlive a stop, see ``KeptResults``.
        tell: is given a line for each thing done.
    """
    project = project_of(checkout)
    groups = group_by_model(project, names, opts)
    kept = KeptResults(keep, _state(project, seed, opts))
    equalities, views, turns = [], [], []
    with Contestant("detectron2", [str(SERVER)], project) as upstream:
        sides = Sides(upstream, project, seed=seed, opts=opts)
        for number, (name, others) in enumerate(groups.items(), start=1):
            tell(f"{number}/{len(groups)} {name}")
            values = kept.get("model", name, lambda name=name: sides.equality(name).to_json())
            equalities.append(replace(Equality.from_json(values), same_models=others))
        if VIEWS_CONFIG in groups:
            measure = partial(compare_views, sides, tell)
            views = kept.get("views", VIEWS_CONFIG, lambda: [asdict(v) for v in measure()])
            turns = kept.get(
                "turns", VIEWS_CONFIG, lambda: [asdict(t) for t in compare_turns(sides)]
            )
    return Findings(
        equalities,
        [ViewEquality(**values) for values in views],
        [TurnError(**values) for values in turns],
        _two_iterations(project, names, opts, kept, tell),
        _shipped(project, names),
    )


def _state(project: Path, seed: int, opts: Sequence[str]) -> dict[str, Any]:
    """All that a config's results depend on."""
    return {
        "sources": sources_digest(PACKAGE),
        "configs": sources_digest(project / "configs", "*.yaml"),
        "checkout": sources_digest(project / "densepose"),
        "versions": versions(),
        "seed": seed,
        "opts": list(opts),
    }


class Sides:
    """Both sides of the comparison of one config."""

    def __init__(
        self,
        upstream: Contestant,
        project: Path,
        *,
        seed: int,
        opts: Sequence[str],
    ) -> None:
        """Keep what all configs share; see ``run_comparison``."""
        self.upstream = upstream
        self.project = project
        self.seed = seed
        self.opts = list(opts)

    def path(self, name: str) -> str:
        """File of a config of the checkout."""
        return str(self.project / "configs" / f"{name}.yaml")

    def ask(self, name: str, folder: str, opts: Sequence[str] = (), **work: Any) -> None:
        """Let the checkout's process do some work with a config."""
        case = {"upstream_config": self.path(name), "opts": [*self.opts, *opts], "folder": folder}
        self.upstream.prepare({**case, "seed": self.seed, **work})

    def equality(self, name: str) -> Equality:
        """All numbers of one config."""
        with tempfile.TemporaryDirectory(prefix="densepose_equality_") as folder:
            self.ask(name, folder, work="results")
            weights = Path(folder) / "weights.safetensors"
            names = names_digest(load_file(weights))
            theirs = load_file(Path(folder) / "results.safetensors")
            cfg = load_checked(self.path(name), self.opts)
            model = strict_model(cfg, weights)
            checkpoint = Path(folder) / "model_final.pth"
            write_checkpoint(model, cfg, checkpoint)
            self.ask(name, folder, work="load", file=str(checkpoint))
            ours = our_results(model, self.seed)
            # A fresh model: norms of a backbone that trains have moved.
            fast = accelerated_maps(strict_model(cfg, weights), self.seed)
            return Equality(
                config=name,
                tensors=len(model.state_dict()),
                names_sha256=names,
                loads_there=True,  # the request above would have raised
                **compare_results(ours, theirs, fast),
            )

    def views(self, name: str, opts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Results of test-time augmentation, ours and the checkout's."""
        table = mirror_table()
        with tempfile.TemporaryDirectory(prefix="densepose_equality_") as folder:
            file = Path(folder) / "table.safetensors"
            save_file({"uv": table}, file)
            self.ask(name, folder, opts, work="views", table=str(file))
            theirs = load_file(Path(folder) / "views.safetensors")
            cfg = load_checked(self.path(name), [*self.opts, *opts])
            model = strict_model(cfg, Path(folder) / "weights.safetensors")
            return with_views(cfg, model, table, self.seed), theirs


def _two_iterations(
    project: Path,
    names: Sequence[str],
    opts: Sequence[str],
    kept: KeptResults,
    tell: Callable[[str], None],
) -> dict[str, list[float]]:
    losses = {}
    with tempfile.TemporaryDirectory(prefix="densepose_equality_") as folder:
        data = write_data(Path(folder) / "data")

        def train(name: str) -> list[float]:
            path = project / "configs" / f"{name}.yaml"
            return train_two_iterations(small_config(path, data, opts))

        for number, name in enumerate(names, start=1):
            tell(f"two iterations {number}/{len(names)} {name}")
            losses[name] = kept.get("two_iterations", name, partial(train, name))
    return losses


def _shipped(project: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Configs that this package ships under the same name: keys with another value.

    MODEL.WEIGHTS is left out: HRNet's stand at an address that no program can read.
    """
    found = {}
    for name in names:
        ours = config_dir() / f"{name}.yaml"
        if ours.is_file():
            here, there = (
                dict(_leaves(load_checked(path, ())))
                for path in (ours, project / "configs" / f"{name}.yaml")
            )
            differ = {key for key in here if here[key] != there.get(key)}
            found[name] = sorted(differ - OWN_KEYS)
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of all keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
