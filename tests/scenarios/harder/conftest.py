"""The shipped verbalizer and base, loaded once."""

from typing import Any

import pytest
import torch

from nla_core.verbalizer import Verbalizer
from scenarios.sandbox.__main__ import SHIPPED
from scenarios.sandbox.world import World, load_world


@pytest.fixture(scope="session")
def world() -> World:
    return load_world()


@pytest.fixture(scope="session")
def verbalizer() -> Verbalizer:
    torch.set_num_threads(1)
    return Verbalizer.load(SHIPPED / "nla" / "av")


@pytest.fixture(scope="session")
def tokens(verbalizer: Verbalizer) -> dict[str, int]:
    vocabulary: Any = verbalizer.tokenizer.get_vocab()
    return dict(vocabulary)
