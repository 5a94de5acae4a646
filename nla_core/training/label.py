"""Label: guesses of what the model had in mind, and the three training files made from them.

Documents are dealt to verbalizer, reconstructor and reinforcement by a hash of their id, so that
no document is in two of them. Shards are written whole or not at all.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import pyarrow as pa

from nla_core.dataset_sidecar import DatasetSidecar, read_dataset_sidecar
from nla_core.injection import PLACEHOLDER
from nla_core.sidecar import Sidecar, SidecarError
from nla_core.training.config import Harvest, Recipe
from nla_core.training.dataset import PROMPT, Dataset, Rows, Writer, schema
from nla_core.training.plugs import Describer, Place

Use = Literal["av_sft", "ar_sft", "rl"]
_USES: tuple[Use, ...] = ("av_sft", "ar_sft", "rl")
_FIRST: Mapping[Use, Mapping[str, pa.DataType]] = {
    "av_sft": {"prompt": PROMPT, "response": pa.string()},
    "ar_sft": {"prompt": pa.string()},
    "rl": {"prompt": PROMPT},
}
_BATCH = 256


def wrapped(explanation: str) -> str:
    """Return an explanation as the verbalizer must write it."""
    return f"<explanation>\n{explanation}\n</explanation>"


def use_of(doc_id: str, config: Harvest, seed: int) -> Use:
    """Return what a document is used for."""
    digest = hashlib.sha256(f"{seed}|use|{doc_id}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < config.av_share:
        return "av_sft"
    return "ar_sft" if draw < config.av_share + config.ar_share else "rl"


def places(rows: Rows) -> list[Place]:
    """Return where each row was taken."""
    columns = rows.columns
    return [
        Place(doc_id, n, text)
        for doc_id, n, text in zip(
            columns["doc_id"],
            columns["n_raw_tokens"],
            columns["detokenized_text_truncated"],
            strict=True,
        )
    ]


def label(
    recipe: Recipe,
    describer: Describer,
    sidecar: Sidecar,
    tokenizer: Any,
    folder: Path,
    *,
    say: Callable[[str], None] = print,
) -> None:
    """Write `av_sft`, `ar_sft` and `rl` files, one of each for every base file.

    Args:
        recipe: Seeds, shares and templates.
        describer: Asked in batches; rows that it has no words for are left out.
        sidecar: Of the untrained reconstructor: its tokens and templates go into the files'.
        tokenizer: Of the untrained reconstructor.
        folder: Where the base files lie and the others go.
        say: Told of every file.

    Raises:
        SidecarError: When a prompt of the reconstructor does not end as its sidecar says.
    """
    for base in sorted(folder.glob("base-*.parquet")):
        targets = {use: folder / base.name.replace("base-", f"{use}-") for use in _USES}
        if all(path.exists() for path in targets.values()):
            continue
        counts = _label_file(recipe, describer, sidecar, tokenizer, base, targets)
        say(f"label: {base.name}: " + ", ".join(f"{n} {use}" for use, n in counts.items()))


def _label_file(
    recipe: Recipe,
    describer: Describer,
    sidecar: Sidecar,
    tokenizer: Any,
    base: Path,
    targets: Mapping[Use, Path],
) -> dict[Use, int]:
    dataset = Dataset([base])
    rows = dataset.rows(0, len(dataset))
    found = places(rows)
    order = list(range(len(rows)))
    Random(f"{recipe.seed}|{base.name}").shuffle(order)
    counts: dict[Use, int] = {}
    for use, path in targets.items():
        mine = [i for i in order if use_of(found[i].doc_id, recipe.harvest, recipe.seed) == use]
        said = (
            ["" for _ in mine] if use == "rl" else _described(describer, [found[i] for i in mine])
        )
        with Writer(path, schema(rows.vectors.shape[1], first=_FIRST[use])) as writer:
            for i, text in zip(mine, said, strict=True):
                if text is None:
                    continue
                first = _first_columns(use, text, recipe)
                if use == "ar_sft":
                    _check_suffix(tokenizer, sidecar, first["prompt"], found[i].doc_id)
                writer.add(
                    **first,
                    activation_vector=rows.vectors[i],
                    n_raw_tokens=found[i].n_raw_tokens,
                    activation_layer=rows.columns["activation_layer"][i],
                    doc_id=found[i].doc_id,
                    detokenized_text_truncated=found[i].text,
                )
            writer.finish(_sidecar(use, base, sidecar))
            counts[use] = writer.row_count
    return counts


def _described(describer: Describer, wanted: Sequence[Place]) -> list[str | None]:
    return [
        text
        for start in range(0, len(wanted), _BATCH)
        for text in describer.describe(wanted[start : start + _BATCH])
    ]


def _first_columns(use: Use, text: str, recipe: Recipe) -> dict[str, Any]:
    if use == "ar_sft":
        return {"prompt": recipe.ar_template.format(explanation=text)}
    message = recipe.av_template.format(injection_char=PLACEHOLDER)
    prompt = [{"role": "user", "content": message}]
    return {"prompt": prompt} | ({"response": wrapped(text)} if use == "av_sft" else {})


def _check_suffix(tokenizer: Any, sidecar: Sidecar, prompt: str, doc_id: str) -> None:
    """Refuse a prompt whose end merges with the explanation: it is read out at another token."""
    suffix = list(sidecar.tokens.critic_suffix_ids or ())
    ids = list(tokenizer.encode(prompt, add_special_tokens=False))
    if ids[len(ids) - len(suffix) :] != suffix:
        raise SidecarError(
            f"the reconstructor's prompt for a row of {doc_id} ends with ids "
            f"{ids[-len(suffix) :]}, its sidecar says {suffix}; end ar_template in a way that no "
            "explanation can merge with"
        )


def _sidecar(use: Use, base: Path, model: Sidecar) -> DatasetSidecar:
    parent = read_dataset_sidecar(base)
    tokens = model.tokens
    if use != "ar_sft":
        tokens = tokens.model_copy(update={"critic_suffix_ids": None})
    name = parent.dataset_id.removeprefix("base_")
    return parent.model_copy(
        update={
            "dataset_id": f"{use}_{name}",
            "stage": use,
            "tokens": tokens,
            "prompt_templates": {"actor": model.av_template, "critic": model.ar_template},
            "parent_datasets": (parent.dataset_id,),
            "created_by": __name__,
        }
    )
