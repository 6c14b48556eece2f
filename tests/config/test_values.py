"""Any value of any key is taken or refused in one sentence, before anything is built."""

from __future__ import annotations

import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from densepose.config import check_config, get_densepose_cfg, load_config
from densepose.config.values import leaves
from densepose.errors import InputError

QUICK = Path(__file__).parents[1] / "configs" / "synthetic_cpu.yaml"
KEYS = [key for key, _ in leaves(get_densepose_cfg())]
SECTIONS = sorted({key.rsplit(".", 1)[0] for key in KEYS if "." in key})
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text("aB1._~é/", max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just("A"), inner)
)


def verdict(key: str, value: Any) -> str:
    """The message about one value above the quick config; empty where it is taken."""
    content = reduce(lambda inner, part: {part: inner}, reversed(key.split(".")), value)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"_BASE_": str(QUICK), **content}, file)
        file.flush()
        try:
            check_config(load_config(file.name))
        except InputError as error:
            return str(error)
    return ""


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from([*KEYS, *SECTIONS]), VALUES)
def test_a_value_is_taken_or_refused(key: str, value: Any):
    message = verdict(key, value)
    assert not message or len(message.split()) >= 3
