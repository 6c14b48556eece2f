"""Find and read YAML files and ``KEY VALUE`` pairs; errors name file, key and nearest keys."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import BASE_KEY

from detectron2.config import CfgNode

from densepose.errors import InputError

from .keys import get_densepose_cfg
from .values import leaves, type_problem

PACKAGE = Path(__file__).parents[1]


def load_config(path: str | None = None, opts: list[str] | None = None) -> CfgNode:
    """Defaults, then a YAML file with its ``_BASE_`` files, then ``KEY VALUE`` pairs.

    Args:
        path: YAML file; ``None`` keeps the defaults.
        opts: flat list KEY, VALUE, KEY, VALUE ... as on a command line.

    Raises:
        InputError: a file is missing or is not a YAML mapping, a key does not exist (the message
            has the nearest existing ones), a value has the wrong type, or ``opts`` is not made of
            pairs.
    """
    cfg, defaults = get_densepose_cfg(), get_densepose_cfg()
    for source, content in [*(_files_of(path) if path else ()), *_pairs(opts or [])]:
        _check_keys(cfg, content, source)
        converted = _converted(content, defaults, source)
        try:
            cfg.merge_from_other_cfg(CfgNode(converted))
        except ValueError as error:
            raise InputError(f"{source}: {error}") from error
    return cfg


def _converted(content: Any, default: Any, source: str, key: str = "") -> Any:
    """The content with decoded words, "~" expanded, and floats where the config has floats.

    Raises:
        InputError: a value has another type than the default.
    """
    if isinstance(default, CfgNode) and isinstance(content, Mapping):
        if default.is_new_allowed():
            return content
        return {
            # Keys that detectron2 has renamed or removed are handled by yacs.
            name: _converted(value, default[name], source, f"{key}.{name}".lstrip("."))
            if name in default
            else value
            for name, value in content.items()
        }
    value = _expanded(CfgNode._decode_cfg_value(content))
    if problem := type_problem(key, value, default):
        raise InputError(f"{source}: {key}={value!r} {problem}")
    return float(value) if isinstance(default, float) else value


def _expanded(value: Any) -> Any:
    """A value of a config in which no path begins with "~"."""
    if isinstance(value, Mapping):
        return {key: _expanded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_expanded, value))
    return os.path.expanduser(value) if isinstance(value, str) else value


def nearest_keys(cfg: CfgNode, key: str) -> list[str]:
    """Up to three existing keys that a misspelt or misplaced ``key`` may mean, best first."""
    known = [name for name, _ in leaves(cfg)]
    last = key.rsplit(".", 1)[-1]
    misplaced = [name for name in known if name.rsplit(".", 1)[-1] == last]
    similar = difflib.get_close_matches(key, known, n=3, cutoff=0.75)
    by_last = {name.rsplit(".", 1)[-1]: name for name in known}
    similar_last = [
        by_last[name] for name in difflib.get_close_matches(last, by_last, n=2, cutoff=0.85)
    ]
    return list(dict.fromkeys([*similar[:1], *misplaced, *similar, *similar_last]))[:3]


def unknown_key(cfg: CfgNode, key: str) -> str:
    """``KEY is not a config key; did you mean ...?``, or nothing if it is one."""
    if _is_known(cfg, key):
        return ""
    nearest = nearest_keys(cfg, key)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
    return f"{key} is not a config key{hint}"


def is_meant_as_key(cfg: CfgNode, word: str) -> bool:
    """Whether a word of a command line names a key, or something in a section that exists."""
    section, dot, _ = word.partition(".")
    is_leaf = section in cfg and not isinstance(cfg[section], CfgNode)
    return is_leaf or (bool(dot) and section in cfg)


def config_dir() -> Path:
    """Folder of the YAML files that come with the package: inside it, or beside it in a checkout.

    Raises:
        InputError: they were not installed.
    """
    installed, checkout = PACKAGE / "configs", PACKAGE.parent / "configs"
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise InputError(
        f"the configs are neither in {installed} nor in {checkout}; install the package again:"
        " pip install --force-reinstall --no-deps ."
    )


def config_names() -> list[str]:
    """Names of all shipped configs that can be run, relative to their folder; not the bases."""
    folder = config_dir()
    runnable = (path for path in folder.rglob("*.yaml") if not path.name.startswith("Base-"))
    return sorted(path.relative_to(folder).as_posix() for path in runnable)


def find_config(name: str) -> str:
    """Path of a config: a file that exists, or one of the shipped ones.

    Args:
        name: a path, or a name as ``config_names`` gives it, with or without ``configs/`` before
            and ``.yaml`` behind it.

    Raises:
        InputError: neither exists; the message has the nearest shipped name.
    """
    name = os.path.expanduser(name)
    if Path(name).is_file():
        return name
    short = name.removeprefix("configs/").removesuffix(".yaml")
    shipped = config_dir() / f"{short}.yaml"
    if not Path(name).is_absolute() and shipped.is_file():
        return str(shipped)
    close = difflib.get_close_matches(f"{short}.yaml", config_names(), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"shipped: {', '.join(config_names())}"
    raise InputError(
        f"config file {name!r} does not exist (working folder: {Path.cwd()}), nor does a config of"
        f" that name come with the package; {hint}"
    )


def _files_of(path: str, users: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """The bases of a YAML file, then the file itself; ``users`` are the files it is a base of."""
    if os.path.realpath(path) in users:
        raise InputError(f"{path} is its own base; name another file in {BASE_KEY}")
    if not os.path.isfile(path):
        raise InputError(f"config file {path!r} does not exist (working folder: {os.getcwd()!r})")
    with open(path, encoding="utf-8") as file:
        try:
            content = yaml.safe_load(file)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not readable as plain YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping of config keys, got {type(content).__name__}")
    bases = content.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) for base in bases)):
        raise InputError(f"{path}: {BASE_KEY} must be a file or a list of files, got {bases!r}")
    for base in bases:
        try:
            base = os.path.join(os.path.dirname(path), os.path.expanduser(base))
            yield from _files_of(base, (*users, os.path.realpath(path)))
        except InputError as error:
            raise InputError(f"{path}: {BASE_KEY}: {error}") from error
    yield path, content


def _pairs(opts: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``KEY VALUE`` pairs as nested mappings."""
    if len(opts) % 2:
        raise InputError(
            f"options on the command line come as KEY VALUE pairs, got {len(opts)} words: {opts}"
        )
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        content = reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)
        yield "command line", content


def _check_keys(cfg: CfgNode, content: Mapping[str, Any], source: str) -> None:
    """Raise for keys that do not exist."""
    for key, _ in leaves(content):
        if complaint := unknown_key(cfg, key):
            raise InputError(f"{source}: {complaint}")


def _is_known(cfg: CfgNode, key: str) -> bool:
    node: Any = cfg
    for part in key.split("."):
        if isinstance(node, CfgNode) and node.is_new_allowed():
            return True
        if not isinstance(node, CfgNode) or part not in node:
            # Keys that detectron2 itself has given up.
            return cfg.key_is_deprecated(key) or cfg.key_is_renamed(key)
        node = node[part]
    return True
