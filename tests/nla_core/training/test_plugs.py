"""A JSONL file as a corpus."""

import json
from pathlib import Path
from typing import Any

import pytest

from nla_core.training.config import RecipeError
from nla_core.training.plugs import ClaimCount, JsonlCorpus, load_corpus


def corpus_of(path: Path, tokenizer: Any, lines: list[Any]) -> JsonlCorpus:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = load_corpus(str(path), tokenizer)
    assert isinstance(found, JsonlCorpus)
    return found


def test_plain_texts_and_chats_are_tokenized_as_the_model_reads_them(
    tmp_path: Path, tokenizer: Any
) -> None:
    turns = [{"role": "user", "content": "tell me about bread."}]
    corpus = corpus_of(tmp_path / "c.jsonl", tokenizer, [{"text": "the bread."}, {"messages": turns}])  # fmt: skip
    plain, chat = corpus.documents("train", 0, 2)
    assert list(plain.token_ids) == tokenizer("the bread.")["input_ids"]
    assert plain.token_ids[0] == tokenizer.bos_token_id
    rendered = tokenizer.apply_chat_template(turns, tokenize=False)
    assert list(chat.token_ids) == tokenizer.encode(rendered, add_special_tokens=False)
    assert list(chat.token_ids).count(tokenizer.bos_token_id) == 1


def test_the_splits_have_no_document_in_common_and_together_all(
    tmp_path: Path, tokenizer: Any
) -> None:
    corpus = corpus_of(tmp_path / "c.jsonl", tokenizer, [{"text": "the"}] * 35)
    train = [d.doc_id for d in corpus.documents("train", 0, 99)]
    held_out = [d.doc_id for d in corpus.documents("held_out", 0, 99)]
    numbers = [int(doc_id.rpartition(":")[2]) for doc_id in (*train, *held_out)]
    assert sorted(numbers) == list(range(35))
    assert len(held_out) == 3
    assert len({*train, *held_out}) == 35


def test_a_span_of_documents_is_the_same_however_it_is_cut(tmp_path: Path, tokenizer: Any) -> None:
    corpus = corpus_of(tmp_path / "c.jsonl", tokenizer, [{"text": "the"}] * 35)
    whole = list(corpus.documents("train", 0, 40))
    parts = [d for start in range(0, 40, 7) for d in corpus.documents("train", start, start + 7)]
    assert whole == parts


@pytest.mark.parametrize(
    "line",
    [
        b"{cut",
        b"",
        b"3",
        b"[]",
        b'{"content": "the"}',
        b'{"text": 5}',
        b'{"text": null}',
        b'{"text": "\xff"}',
        b'{"messages": "hello"}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": 5}',
    ],
)
def test_a_malformed_line_is_refused_with_its_number(
    line: bytes, tmp_path: Path, tokenizer: Any
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"text": "the"}\n' + line + b'\n{"text": "the"}\n')
    documents = load_corpus(str(path), tokenizer).documents("train", 0, 9)
    assert next(documents).doc_id == "c.jsonl:train:0"
    with pytest.raises(RecipeError, match=r"c\.jsonl: line 2: needs a `text` or `messages`") as e:
        next(documents)
    assert "\n" not in str(e.value)


def test_a_missing_file_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_corpus(str(tmp_path / "none.jsonl"), tokenizer)


def test_shares_of_nothing_are_unknown() -> None:
    nothing = ClaimCount(said=0, right=0, true=0, found=0)
    assert (nothing.precision, nothing.recall) == (None, None)
    some = ClaimCount(said=4, right=3, true=5, found=2)
    assert (some.precision, some.recall) == (0.75, 0.4)
