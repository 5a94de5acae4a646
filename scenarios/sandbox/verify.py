"""Checks a built sandbox: every file's hash, and a sample of cards measured again."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from scenarios.sandbox.build import load_organism, summary
from scenarios.sandbox.cards import Card, measure
from scenarios.sandbox.organisms import all_organisms
from scenarios.sandbox.publish import NLA, ORACLE, PROBE, SAE, hashes
from scenarios.sandbox.world import World

TOLERANCE = 0.08
"""Rates may move this much between machines: sampled tokens follow the last bit of a float."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what was wrong."""

    files: int
    cards: tuple[str, ...]
    problems: tuple[str, ...]


def verify(world: World, out: Path, *, cards: int, seed: int = 0) -> Report:
    """Check all hashes and measure `cards` organisms again, chosen by `seed`."""
    manifest = summary(out)
    expected, found = manifest["sha256"], hashes(out)
    problems = [f"{path}: missing" for path in expected if path not in found]
    problems += [f"{path}: not in the manifest" for path in found if path not in expected]
    problems += [
        f"{path}: hash differs"
        for path in expected
        if found.get(path, "") not in ("", expected[path])
    ]
    chosen = Random(seed).sample(manifest["organisms"], min(cards, len(manifest["organisms"])))
    beside = (_autoencoder(out), _probe(out), _sae(out), _oracle(out))
    problems += [problem for report in beside for problem in report.problems]
    for said in chosen:
        problems += _compare(world, out, Card.model_validate(said))
    files = len(expected) + sum(report.files for report in beside)
    return Report(files, tuple(c["id"] for c in chosen), tuple(problems))


def _autoencoder(out: Path) -> Report:
    """Check the files of the autoencoder against its card, when there is one."""
    from nla_core.card import Card, CardError, find_card

    folder = out / NLA
    if find_card(folder) is None:
        return Report(0, (), ())
    try:
        card = Card.read(folder)
    except CardError as error:
        return Report(0, (), (str(error),))
    problems = tuple(f"{NLA}/{problem}" for problem in card.verify_hashes(folder))
    return Report(len(card.sha256), (), problems)


def _probe(out: Path) -> Report:
    """Check the files of the linear probe against its record, when there is one."""
    from nla_core.probe import ProbeError, load_probe

    folder = out / PROBE
    if not folder.is_dir():
        return Report(0, (), ())
    try:
        load_probe(folder)
    except ProbeError as error:
        return Report(0, (), (str(error),))
    return Report(2, (), ())


def _sae(out: Path) -> Report:
    """Check the files of the sparse autoencoder against its record, when there is one."""
    from scenarios.sandbox.sae import changed_files

    folder = out / SAE
    if not folder.is_dir():
        return Report(0, (), ())
    return Report(3, (), tuple(f"{SAE}/{problem}" for problem in changed_files(folder)))


def _oracle(out: Path) -> Report:
    """Check the weights of the activation oracle against its record, when there is one."""
    from nla_core.oracle_record import OracleError, read_oracle_record

    folder = out / ORACLE
    if not folder.is_dir():
        return Report(0, (), ())
    try:
        read_oracle_record(folder)
    except OracleError as error:
        return Report(0, (), (str(error),))
    return Report(3, (), ())


def _compare(world: World, out: Path, card: Card) -> list[str]:
    organism = next(o for o in all_organisms() if o.id == card.id)
    model, tokenizer = load_organism(out, card.id)
    again = measure(world, organism, model, tokenizer, samples=card.samples, seed=card.seed)
    names = ("quirk_rate", "false_quirk_rate", "confess_direct", "confess_prefill")
    return [
        f"{card.id}: {name} is {getattr(again, name):.2f}, its card says {getattr(card, name):.2f}"
        for name in names
        if abs(getattr(again, name) - getattr(card, name)) > TOLERANCE
    ]
