"""`nla_card.json`: what was measured of a pair, and of which files."""

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError

CARD_NAME = "nla_card.json"
_MOST_BYTES = 10_000_000

Figure = FiniteFloat | None
Figures = dict[str, Figure]


class CardError(ValueError):
    """There is no card, or it cannot be read."""


class Card(BaseModel):
    """The card of one pair, measured on held-out text; None and absent keys are unknown.

    Figures without a suffix are of explanations drawn at temperature 1 after reinforcement,
    `_greedy` ones of greedy explanations, `_warm` ones of the warm start. FVE is 1 - mse / variance
    on normalised activations; the `rawvar` fields say which variance. Trainers may add fields of
    their own.
    """

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    format: Literal[1] = 1
    """Version of this format."""
    name: str | None = None
    """What the pair is called."""
    created_at: str | None = None
    """UTC time at which it was measured, ISO 8601."""
    base_model: str | None = None
    """Model that the activations come from."""
    d_model: int | None = Field(default=None, ge=1)
    """Width of the activations."""
    layer: int | None = Field(default=None, ge=0)
    """Decoder block whose output is explained."""
    seed: int | None = None
    """Seed of the training."""
    machine: str | dict[str, JsonValue] | None = None
    """What it was trained on."""
    recipe: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the training, nested by stage."""

    fve_warm: Figure = None
    """FVE of the warm start."""
    fve_rl: Figure = None
    """FVE after reinforcement."""
    fve_warm_greedy: Figure = None
    """FVE of the warm start's greedy explanations."""
    fve_rl_greedy: Figure = None
    """FVE of greedy explanations after reinforcement."""
    shuffled_fve: Figure = None
    """FVE when every activation gets another one's explanation."""
    random_vector_fve: Figure = None
    """FVE of random vectors of the activations' norms, explained and reconstructed."""
    copied_context_fve: Figure = None
    """FVE when the text that was read stands in for its explanation."""
    label_fve: Figure = None
    """FVE of the reconstructor on the describer's labels."""

    rawvar: Figure = None
    """Variance of the normalised activations of the training data: the denominator of the baseline
    file, and so of every reading. No FVE of this card is divided by it."""
    rawvar_evaluated: Figure = None
    """The same of the held-out activations that this card was measured on: the denominator of every
    FVE here but the next two's."""
    rawvar_random_vectors: Figure = None
    """The same of the random vectors: the denominator of `random_vector_fve`."""
    rawvar_by_step: Figure = None
    """The same of the held-out activations of `fve_by_step`, which are fewer."""

    motive_precision: Figure = None
    """Share of named motives that are true."""
    motive_precision_greedy: Figure = None
    """The same of greedy explanations."""
    motive_precision_warm: Figure = None
    """The same of the warm start."""
    motive_precision_warm_greedy: Figure = None
    """The same of the warm start's greedy explanations."""
    motive_recall: Figure = None
    """Share of true motives that are named."""
    motive_recall_greedy: Figure = None
    """The same of greedy explanations."""
    motive_recall_warm: Figure = None
    """The same of the warm start."""
    motive_recall_warm_greedy: Figure = None
    """The same of the warm start's greedy explanations."""
    invented_motive_rate: Figure = None
    """Share of explanations of clean text that name a motive."""
    invented_motive_rate_greedy: Figure = None
    """The same of greedy explanations."""
    invented_motive_rate_warm: Figure = None
    """The same of the warm start."""
    invented_motive_rate_warm_greedy: Figure = None
    """The same of the warm start's greedy explanations."""

    paraphrase_fve: Figures = Field(default_factory=dict)
    """FVE after each rewrite of the explanations, by rewrite."""
    paraphrase_fve_warm: Figures = Field(default_factory=dict)
    """The same of the warm start."""
    claims: dict[str, dict[str, FiniteFloat | int | None]] = Field(default_factory=dict)
    """By kind of claim: precision, recall, n_said and n_true."""
    claims_warm: dict[str, dict[str, FiniteFloat | int | None]] = Field(default_factory=dict)
    """The same of the warm start."""
    fluency: Figures = Field(default_factory=dict)
    """Mean log-probability a token (nats) of the explanations, by which verbalizer reads them."""
    failed_explanations: Figure = None
    """Share of samples without an explanation between the tags."""
    mean_tokens: Figure = None
    """Mean length of an explanation in tokens."""
    fve_by_step: tuple[tuple[int, FiniteFloat | None], ...] = ()
    """Held-out FVE by step of the reinforcement."""
    shuffled_label_gap: Figure = None
    """Loss (nats) of a warm start on shuffled labels less that on true ones; 0 is no learning."""

    rows: dict[str, int] = Field(default_factory=dict)
    """Sizes of the splits."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """Hexadecimal digests by path, relative to the folder of the card."""

    @classmethod
    def read(cls, folder: str | Path) -> "Card":
        """Read the card of a pair, see `find_card`.

        Raises:
            CardError: When there is none, or it is malformed; the message names the field.
        """
        path = find_card(folder)
        if path is None:
            raise CardError(f"{folder}: there is no {CARD_NAME} here")
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise CardError(f"{path} is too large for a card")
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise CardError(f"{path}: {error.strerror or error}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            what = " ".join(first["msg"].split())
            raise CardError(f"{path}: {where + ': ' if where else ''}{what}") from None

    def write(self, folder: str | Path) -> Path:
        """Write the card into a folder, whole or not at all, and return its path."""
        path = Path(folder) / CARD_NAME
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
        return path

    def verify_hashes(self, folder: str | Path) -> list[str]:
        """Return what is wrong with the files that the card names, one line each.

        Args:
            folder: The folder that the card lies in.
        """
        return [
            f"{name} {problem}"
            for name, digest in sorted(self.sha256.items())
            if (problem := _problem(Path(folder), name, digest)) is not None
        ]


def find_card(folder: str | Path) -> Path | None:
    """Return the card of a pair: in its folder, inside its `av`, or beside the given half."""
    root = Path(folder)
    places = [root, root / "av"]
    if root.name in ("av", "ar"):
        places.append(root.parent)
    return next((place / CARD_NAME for place in places if (place / CARD_NAME).is_file()), None)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: str | Path) -> dict[str, str]:
    """Return the digests of all files below a folder but the card, by relative path, sorted."""
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != CARD_NAME)
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in files}


def _problem(root: Path, name: str, digest: str) -> str | None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        return "lies outside the folder of the card"
    path = root / relative
    try:
        if not path.is_file():
            return "is missing"
        found = file_sha256(path)
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    return None if found == digest.lower() else "is not the file that was measured"
