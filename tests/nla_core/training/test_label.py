"""The training files made from harvested activations and their descriptions."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from nla_core.sidecar import SidecarError
from nla_core.training.config import Harvest
from nla_core.training.dataset import Dataset, Rows
from nla_core.training.label import label, places, use_of
from nla_core.training.plugs import Place

USES = ("av_sft", "ar_sft", "rl")


def all_rows(folder: Path, stem: str) -> Rows:
    data = Dataset.of(folder, stem)
    return data.rows(0, len(data))


class Numbered:
    """Describes by document and position; remembers what it was asked."""

    def __init__(self, *, silent: bool = False) -> None:
        self.asked: list[Place] = []
        self._silent = silent

    def describe(self, places: Sequence[Place]) -> list[str | None]:
        self.asked += places
        return [
            None if self._silent and place.n_raw_tokens % 2 else f"{place.doc_id} {{at}} {place.n_raw_tokens}"
            for place in places
        ]  # fmt: skip


@pytest.fixture
def harvested(small: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "activations"
    copytree(small.activations, folder)
    for use in USES:
        for path in folder.glob(f"{use}-*"):
            path.unlink()
    return folder


def relabel(small: Any, folder: Path, describer: Any) -> list[str]:
    told: list[str] = []
    fresh = small.new_reconstructor()
    label(small.recipe, describer, fresh.sidecar, fresh.tokenizer, folder, say=told.append)
    return told


def test_every_row_goes_to_one_use_and_no_document_to_two(small: Any, harvested: Path) -> None:
    relabel(small, harvested, Numbered())
    base = all_rows(harvested, "base")
    rows = {use: all_rows(harvested, use) for use in USES}
    documents = {use: set(part.columns["doc_id"]) for use, part in rows.items()}
    assert set.union(*documents.values()) == set(base.columns["doc_id"])
    assert sum(map(len, documents.values())) == len(set(base.columns["doc_id"]))
    assert sum(map(len, rows.values())) == len(base)
    held_out = set(all_rows(harvested, "heldout").columns["doc_id"])
    assert not held_out & set(base.columns["doc_id"])


def test_vectors_and_columns_stay_with_their_rows(small: Any, harvested: Path) -> None:
    relabel(small, harvested, Numbered())
    base = all_rows(harvested, "base")
    by_place = dict(zip(places(base), base.vectors.tolist(), strict=True))
    for use in USES:
        rows = all_rows(harvested, use)
        assert [by_place[place] for place in places(rows)] == rows.vectors.tolist()
        in_order = [p for p in by_place if p in set(places(rows))]
        assert places(rows) != in_order, "rows are shuffled"


def test_shares_of_documents_are_about_those_asked_for() -> None:
    config = Harvest(av_share=0.5, ar_share=0.2)
    uses = [use_of(f"doc:{i}", config, 42) for i in range(4000)]
    # Four standard deviations of a share of 4000 documents are at most 0.032.
    assert uses.count("av_sft") / 4000 == pytest.approx(0.5, abs=0.032)
    assert uses.count("ar_sft") / 4000 == pytest.approx(0.2, abs=0.032)
    assert uses == [use_of(f"doc:{i}", config, 42) for i in range(4000)]
    assert uses != [use_of(f"doc:{i}", config, 43) for i in range(4000)]


def test_places_without_a_description_are_left_out_of_the_warm_start_only(
    small: Any, harvested: Path
) -> None:
    relabel(small, harvested, Numbered(silent=True))
    for use in USES:
        odd = [n for n in all_rows(harvested, use).columns["n_raw_tokens"] if n % 2]
        assert bool(odd) == (use == "rl")


def test_a_row_for_reinforcement_is_never_described(small: Any, harvested: Path) -> None:
    describer = Numbered()
    relabel(small, harvested, describer)
    assert not set(describer.asked) & set(places(all_rows(harvested, "rl")))
    assert len(describer.asked) == len(set(describer.asked))


def test_prompts_and_responses_are_in_the_released_form(small: Any, harvested: Path) -> None:
    relabel(small, harvested, Numbered())
    for use in ("av_sft", "rl"):
        rows = all_rows(harvested, use)
        message = {"role": "user", "content": "explain <concept><INJECT></concept>"}
        assert rows.columns["prompt"] == [[message]] * len(rows)
    rows = all_rows(harvested, "av_sft")
    for place, response in zip(places(rows), rows.columns["response"], strict=True):
        said = f"{place.doc_id} {{at}} {place.n_raw_tokens}"
        assert response == f"<explanation>\n{said}\n</explanation>"


def test_reconstructor_prompts_end_with_the_suffix_ids(
    small: Any, harvested: Path, tokenizer: Any
) -> None:
    relabel(small, harvested, Numbered())
    rows = all_rows(harvested, "ar_sft")
    suffix = list(small.new_reconstructor().sidecar.tokens.critic_suffix_ids)
    assert suffix
    for place, prompt in zip(places(rows), rows.columns["prompt"], strict=True):
        said = f"{place.doc_id} {{at}} {place.n_raw_tokens}"
        assert prompt == f"summary of the following text: <text>{said}</text> <summary>"
        assert tokenizer.encode(prompt, add_special_tokens=False)[-len(suffix) :] == suffix


def test_only_a_file_that_is_missing_is_labelled_again(small: Any, harvested: Path) -> None:
    assert len(relabel(small, harvested, Numbered())) == 3
    before = {path: path.read_bytes() for path in harvested.glob("*.parquet")}
    (harvested / "ar_sft-00001.parquet").unlink()
    told = relabel(small, harvested, Numbered())
    assert [line.split(":")[1].strip() for line in told] == ["base-00001.parquet"]
    assert {path: path.read_bytes() for path in harvested.glob("*.parquet")} == before


class _Merging:
    """A tokenizer in which the end of the prompt merges with a full stop before it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, text: str, **options: Any) -> list[int]:
        ids = list(self._tokenizer.encode(text, **options))
        return ids[:-2] if "." in text else ids


def test_a_prompt_that_does_not_end_with_the_suffix_ids_is_refused(
    small: Any, harvested: Path
) -> None:
    class Ending:
        def describe(self, places: Sequence[Place]) -> list[str | None]:
            return ["topic bread" for _ in places[1:]] + ["topic bread."]

    fresh = small.new_reconstructor()
    arguments = (small.recipe, Ending(), fresh.sidecar)
    with pytest.raises(SidecarError, match=r"prompt for a row of \S+ ends with ids .*sidecar says"):
        label(*arguments, _Merging(fresh.tokenizer), harvested, say=str)
    assert not list(harvested.glob("ar_sft-*.parquet"))
    label(*arguments, fresh.tokenizer, harvested, say=str)
