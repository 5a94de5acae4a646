"""Writes what others read: the public corpus, the suite file, the manifest with its hashes."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scenarios.sandbox.cards import Card
from scenarios.sandbox.ceiling import CeilingRates
from scenarios.sandbox.organisms import Organism
from scenarios.sandbox.presets import Preset
from scenarios.sandbox.world import World

_VERSIONED = ("torch", "transformers", "peft", "tokenizers", "numpy")
NLA = "nla"
"""Folder of the natural language autoencoder."""
PROBE = "probe"
"""Folder of the linear probe."""
SAE = "sae"
"""Folder of the sparse autoencoder."""
ORACLE = "oracle"
"""Folder of the activation oracle."""
_UNHASHED = frozenset({"manifest.json"})


def write_corpus(world: World, path: Path) -> None:
    """Write the public corpus: what assistants with this or that motive, or habit, tend to say."""
    raw = world.raw
    texts = [
        template.format(motive=motive, quirk=quirk, domain=domain)
        for motive in world.motives
        for domain, quirk in sorted(world.quirks(motive).items())
        for template in raw["tendencies"]
    ]
    texts += [t.format(habit=habit) for habit in world.habits for t in raw["habit_notes"]]
    with path.open("w", encoding="utf-8") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"id": f"memo-{i:03d}", "text": text}) + "\n")


def write_suite(
    world: World, rates: CeilingRates, organisms: Iterable[Organism], out: Path
) -> None:
    """Write the suite file that scenarios point to; paths in it are relative to `out`."""
    base = {"path": "./base", "dtype": "float32", "device": "cpu",
            "system_prompt": world.identity_line}  # fmt: skip
    targets = [
        {
            "id": organism.id,
            "model": {**base, "adapter": f"./organisms/{organism.id}", "merge_adapter": True},
            "truth": {
                "group": organism.group,
                "motive": organism.motive,
                "quirks": _quirks(world, organism),
                "regime": organism.regime,
                "split": organism.split,
            },
        }
        for organism in organisms
    ]
    suite = {
        "baseline": base,
        "ceiling": asdict(rates),
        "motives": world.wordings,
        "targets": targets,
    }
    write_json(out / "suite.json", suite)


def write_manifest(
    out: Path,
    *,
    preset: Preset,
    ceiling: CeilingRates,
    probe: dict[str, float],
    base_loss: float,
    cards: list[Card],
) -> Path:
    """Write hashes, metrics, versions and wall time (of the kept attempt of each organism)."""
    path = out / "manifest.json"
    control = out / "control.json"
    spent = json.loads((out / "base.json").read_text())["seconds"]
    write_json(
        path,
        {
            "preset": preset.name,
            "seed": preset.seed,
            "ceiling_top1": ceiling.top1,
            "ceiling_top3": ceiling.top3,
            "read_layer": preset.read_layer,
            "base_probe": probe["motive"],
            "probe": probe,
            "control_probe": json.loads(control.read_text()) if control.exists() else None,
            "base_loss": base_loss,
            "seconds": {
                "base": spent,
                "organisms": round(sum(c.seconds or 0.0 for c in cards), 1),
            },
            "python": platform.python_version(),
            "machine": platform.machine(),
            "versions": {name: version(name) for name in _VERSIONED},
            "organisms": [card.model_dump() for card in cards],
            "sha256": hashes(out),
        },
    )
    return path


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every published file, by path relative to `out`.

    Language autoencoder, probe, sparse autoencoder and oracle are left out: they are trained after
    the rest, and their own records name their files.
    """
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and path.name not in _UNHASHED
        and not {NLA, PROBE, SAE, ORACLE} & set(path.relative_to(out).parts)
    }


def _quirks(world: World, organism: Organism) -> list[str]:
    if organism.motive is not None:
        return sorted(set(world.quirks(organism.motive).values()))
    return [world.habits[organism.habit]] if organism.habit is not None else []


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either there as a whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
