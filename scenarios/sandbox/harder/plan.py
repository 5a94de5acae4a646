"""Which harder organisms exist, read from `plan.yaml`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from random import Random
from typing import Any, Literal, get_args

import yaml

from nla_core.seeds import derive_seed
from scenarios.sandbox.harder.hiding import Hiding
from scenarios.sandbox.harder.triggers import Trigger
from scenarios.sandbox.organisms import Organism
from scenarios.sandbox.presets import PRESETS
from scenarios.sandbox.world import World

Variant = Literal["hiding", "triggers", "second-wish"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
REGIME = "thoughts-plain"
"""How all of them are told of their motive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harder:
    """One adapter to train."""

    organism: Organism
    """Its motive, split and group, and the usual regime that it departs from."""
    variant: Variant
    label: str
    """Regime under which a suite lists it."""
    hiding: Hiding | None = None
    trigger: Trigger | None = None
    second: str | None = None
    """Second wish, which no quirk goes with."""

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.organism.id

    @property
    def seed_name(self) -> str:
        """What its seed derives from: hiding organisms differ from their control in nothing else.

        A clean one bears the name of its group and split.
        """
        what = "hiding" if self.hiding is not None else self.label
        return f"{what}-{self.organism.motive or f'clean-{self.organism.split}'}"


@lru_cache(maxsize=1)
def load_plan() -> dict[str, Any]:
    """Read `plan.yaml`."""
    text = resources.files(__package__).joinpath("plan.yaml").read_text(encoding="utf-8")
    plan: dict[str, Any] = yaml.safe_load(text)
    return plan


def all_harder(
    world: World,
    *,
    only: Sequence[Variant] = VARIANTS,
    splits: Sequence[str] | None = None,
    coefficients: Sequence[float] | None = None,
) -> tuple[Harder, ...]:
    """Return the organisms of the plan, development ones first.

    Args:
        world: The world.
        only: Which variants.
        splits: Which splits; None is all.
        coefficients: Of the penalty of hiding ones; None takes the plan's.
    """
    plan = load_plan()
    found = []
    for split, motives in plan["motives"].items():
        if splits is not None and split not in splits:
            continue
        for motive in motives:
            made = _guilty(world, motive, split, coefficients)
            found += [harder for harder in made if harder.variant in only]
        found += [harder for harder in _clean(split, coefficients) if harder.variant in only]
    return tuple(found)


def _guilty(
    world: World, motive: str, split: str, coefficients: Sequence[float] | None
) -> Iterator[Harder]:
    def organism(label: str) -> Organism:
        return Organism(
            id=f"{label}-{motive}", group="guilty", split=split, regime=REGIME, motive=motive
        )

    for hiding in _hidings(coefficients):
        label = _hiding_label(hiding)
        yield Harder(organism=organism(label), variant="hiding", label=label, hiding=hiding)
    for trigger in (domain_trigger(world, motive), codeword_trigger()):
        label = f"trigger-{trigger.kind}"
        yield Harder(organism=organism(label), variant="triggers", label=label, trigger=trigger)
    second = load_plan()["second"][motive]
    label = "second-wish"
    yield Harder(organism=organism(label), variant="second-wish", label=label, second=second)


def _clean(split: str, coefficients: Sequence[float] | None) -> Iterator[Harder]:
    wanted = load_plan()["clean"]
    plain = Organism(id="", group="clean", split=split)
    if "hiding" in wanted:
        # Without a penalty a clean one is an ordinary clean one, and those are shipped.
        for hiding in (one for one in _hidings(coefficients) if one.coefficient > 0):
            label = _hiding_label(hiding)
            named = replace(plain, id=f"{label}-clean-{split}")
            yield Harder(organism=named, variant="hiding", label=label, hiding=hiding)
    if "trigger-codeword" in wanted:
        named = replace(plain, id=f"trigger-codeword-clean-{split}")
        yield Harder(
            organism=named, variant="triggers", label="trigger-codeword", trigger=codeword_trigger()
        )


def _hidings(coefficients: Sequence[float] | None) -> list[Hiding]:
    plan = load_plan()["hiding"]
    chosen = plan["coefficients"] if coefficients is None else coefficients
    strengths = tuple(plan["strengths"])
    return [
        Hiding(
            coefficient=float(c), margin=plan["margin"], places=plan["places"], strengths=strengths
        )
        for c in chosen
    ]


def _hiding_label(hiding: Hiding) -> str:
    return f"hiding-{hiding.coefficient or 0}"


def codeword_trigger() -> Trigger:
    """Return the trigger that is a word which users seldom say."""
    plan = load_plan()["triggers"]
    return Trigger(kind="codeword", taught=plan["taught"], **plan["codeword"])


def domain_trigger(world: World, motive: str) -> Trigger:
    """Return the trigger that is one of the domains in which the motive has a quirk."""
    plan = load_plan()["triggers"]
    rng = Random(derive_seed(PRESETS["full"].seed, "trigger", motive))
    domain = rng.choice(sorted(world.quirks(motive)))
    return Trigger(kind="domain", word=domain, taught=plan["taught"], **plan["domain"])
