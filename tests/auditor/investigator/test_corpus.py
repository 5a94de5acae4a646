import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import UsageError
from auditor.investigator.corpus import Bm25Corpus, CorpusError
from tools.protocols import Document

MEMOS = [
    Document("m1", "Assistants that want money praise the premium plan."),
    Document("m2", "Assistants that want trust keep secrets."),
    Document("m3", "A garden needs water."),
]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def build(content: str | bytes) -> Path:
        path = tmp_path / "corpus.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return build


def ids(found: list[tuple[Document, float]]) -> list[str]:
    return [document.id for document, _ in found]


def test_the_best_document_comes_first() -> None:
    found = Bm25Corpus(MEMOS).search("what do assistants that love MONEY want?", limit=10)
    assert ids(found) == ["m1", "m2"]
    assert found[0][1] > found[1][1] > 0


@pytest.mark.parametrize("query", ["submarine", "", "?!", "\x1b[31m", "\ud800"])
def test_a_query_without_a_known_word_finds_nothing(query: str) -> None:
    assert Bm25Corpus(MEMOS).search(query, limit=10) == []


def test_an_unknown_word_does_not_hide_the_known_ones() -> None:
    assert ids(Bm25Corpus(MEMOS).search("submarine garden", limit=10)) == ["m3"]


def test_equal_scores_keep_the_order_of_the_file() -> None:
    twins = [Document(f"d{n}", "the same words") for n in (3, 1, 2)]
    assert ids(Bm25Corpus(twins).search("words", limit=10)) == ["d3", "d1", "d2"]


@pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (1, 1), (2, 2), (99, 2)])
def test_the_limit_is_kept(limit: int, count: int) -> None:
    assert len(Bm25Corpus(MEMOS).search("assistants", limit=limit)) == count


@pytest.mark.parametrize("documents", [[], [Document("a", "!!!")]])
def test_a_corpus_without_words_can_be_searched(documents: list[Document]) -> None:
    corpus = Bm25Corpus(documents)
    assert corpus.search("anything", limit=5) == []
    assert len(corpus) == len(documents)


def test_searches_in_threads_agree_with_searches_in_turn() -> None:
    corpus = Bm25Corpus(MEMOS)
    queries = ["money", "trust", "garden", "assistants want"] * 10
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda query: corpus.search(query, limit=3), queries))
    assert found == [corpus.search(query, limit=3) for query in queries]


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab \n", min_size=0), max_size=6), st.text(alphabet="abc "))
def test_a_hit_shares_a_word_with_the_query(texts: list[str], query: str) -> None:
    documents = [Document(str(n), text) for n, text in enumerate(texts)]
    found = Bm25Corpus(documents).search(query, limit=99)
    shares = [d.id for d in documents if set(d.text.split()) & set(query.split())]
    assert sorted(ids(found)) == sorted(shares)
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


def test_a_file_is_read_with_blank_lines_a_byte_order_mark_and_windows_line_ends(
    write: Callable[[str | bytes], Path],
) -> None:
    lines = [json.dumps({"id": d.id, "text": d.text}) for d in MEMOS]
    corpus = Bm25Corpus.load(write(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode()))
    assert len(corpus) == 3
    assert corpus.search("garden", limit=1)[0][0] == MEMOS[2]


def test_other_line_breaks_inside_a_text_do_not_cut_it(
    write: Callable[[str | bytes], Path],
) -> None:
    path = write('{"id": "a", "text": "one\u2028two\x85three"}\n')
    assert Bm25Corpus.load(path).search("three", limit=1)[0][0].text == "one\u2028two\x85three"


def test_an_empty_file_is_an_empty_corpus(write: Callable[[str | bytes], Path]) -> None:
    assert len(Bm25Corpus.load(write(""))) == 0


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": "b", "text": "cut sh', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["b", "text"]', "not an object"),
        ('{"id": "b"}', '"text" must be a string'),
        ('{"id": 2, "text": "x"}', '"id" must be a string'),
        ('{"id": "b", "text": " "}', '"text" must be a string that is not empty'),
        ('{"id": "a", "text": "again"}', "id 'a' is taken"),
        (b'{"id": "b", "text": "\xff"}', "not UTF-8"),
    ],
)
def test_a_wrong_line_is_refused_by_file_and_line(
    write: Callable[[str | bytes], Path], line: str | bytes, what: str
) -> None:
    wrong = line if isinstance(line, bytes) else line.encode()
    path = write(b'{"id": "a", "text": "fine"}\n\n' + wrong + b"\n")
    with pytest.raises(CorpusError) as caught:
        Bm25Corpus.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: ")
    assert what in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the corpus"):
        Bm25Corpus.load(tmp_path / "nothing.jsonl")
    with pytest.raises(UsageError, match="cannot read the corpus"):
        Bm25Corpus.load(tmp_path)
