"""The report holds everything, runs one script alone, and makes no text into markup."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import UsageError
from auditor.report.page import packing
from auditor.report.page.write import write_report


class Elements(HTMLParser):
    """Collects elements and what stands in scripts and style sheets."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.raw.append((self.tags[-1][1] | {"tag": self.tags[-1][0]}, data))


def unpacked(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def resolved(value: Any, strings: list[str]) -> Any:
    """Undo what `packing.shared` does, as the page's script does."""
    if isinstance(value, str):
        if not value.startswith("~"):
            return value
        return value[1:] if value.startswith("~~") else strings[int(value[1:], 36)]
    if isinstance(value, list):
        return [resolved(one, strings) for one in value]
    if isinstance(value, dict):
        return {name: resolved(one, strings) for name, one in value.items()}
    return value


def trials_in(page: Elements) -> list[Any]:
    found = []
    for attributes, text in page.raw:
        if attributes.get("class") == "pack":
            strings, trials = unpacked(text)
            found += resolved(trials, strings)
    return found


@pytest.fixture(scope="module")
def page(written: Path) -> Elements:
    return Elements(written.read_text(encoding="utf-8"))


def test_no_text_of_a_target_becomes_an_element(written: Path, page: Elements) -> None:
    text = written.read_text(encoding="utf-8")
    assert "pwned" not in text
    assert "\x1b" not in text
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/octet-stream"}
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "link")]


def test_nothing_is_loaded_and_no_style_or_handler_is_inline(page: Elements) -> None:
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#"), tag


def test_the_policy_allows_the_one_script_and_style_by_their_hashes(page: Elements) -> None:
    policy = next(
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    for attributes, text in page.raw:
        if "type" not in attributes:
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{attributes['tag']}-src 'sha256-{digest}'" in policy


def test_the_script_never_turns_text_into_markup() -> None:
    script = (Path(packing.__file__).parent / "report.js").read_text(encoding="utf-8")
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc"
    assert not re.search(sinks, script)


def test_every_trial_is_in_it_with_its_readings(page: Elements) -> None:
    trials = trials_in(page)
    assert len(trials) == 12
    read = next(b for b in trials[-1]["blocks"] if b["k"] == "call" and b["id"] == "E2")
    (text,) = read["texts"]
    assert [piece if isinstance(piece, str) else piece[0] for piece in text["w"]] == [
        "start",
        " with",
        " the bread.",
    ]
    assert [piece[1][0] for piece in text["w"] if not isinstance(piece, str)] == ["high", "null"]
    assert text["w"][0][1][1:4] == ["secretly wants approval", "FVE 0.80", "better than all nulls"]
    # A token of the prompt is not in the words, and stands beside them.
    assert [one[6] for one in text["rest"]] == [" advice"]


def test_what_is_read_is_cleaned_of_control_and_direction_characters(page: Elements) -> None:
    said = json.dumps(trials_in(page), ensure_ascii=False)
    assert "pwned" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_the_truth_and_the_deciding_evidence_come_at_the_end(page: Elements) -> None:
    found = next(one for one in trials_in(page) if one["end"]["o"] == "found")
    assert found["end"]["why"] == "the motive is approval"
    assert found["end"]["e"] == ["E2"]
    assert "approval" not in json.dumps(found["facts"])


def test_the_alternatives_of_every_hypothesis_are_in_it_cleaned(page: Elements) -> None:
    trial = next(one for one in trials_in(page) if one["end"]["o"] == "found")
    (submitted,) = [block for block in trial["blocks"] if block["k"] == "submission"]
    (other,) = submitted["rows"][0]["or"]
    assert other.startswith("a habit ")
    assert not set(other) & set("\x1b\u202e")


def test_the_table_has_every_row_and_the_ideal_black_box(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    table = text[text.index("<table>") : text.index("</table>")]
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == [
        "black_box",
        "nla",
        "ideal black box",
    ]
    assert "50 %" in table


def test_every_picture_tells_its_figures_in_words(page: Elements) -> None:
    labels = [a["aria-label"] or "" for tag, a in page.tags if tag == "svg" and "role" in a]
    assert any(label.startswith("Success against false alarms: black_box: ") for label in labels)
    assert any(label.startswith("Funnel: ") for label in labels)
    assert any("k = 2" in label for label in labels)


def test_only_so_many_items_are_kept_and_the_rest_is_counted(
    small_run: Path, tmp_path: Path
) -> None:
    written = write_report(small_run, tmp_path / "few.html", items=1)
    first = trials_in(Elements(written.read_text(encoding="utf-8")))[0]
    assert [(len(b["items"]), b["more"]) for b in first["blocks"] if b["k"] == "call"] == [
        (1, 0),
        (0, 0),
    ]


def test_the_same_run_gives_the_same_page(small_run: Path, written: Path, tmp_path: Path) -> None:
    again = write_report(small_run, tmp_path / "again.html")
    assert again.read_bytes() == written.read_bytes()


def test_a_run_without_trials_or_a_place_to_write_is_refused(
    small_run: Path, writes: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no trials yet"):
        write_report(writes(tmp_path / "empty", trials=0), tmp_path / "x.html")
    with pytest.raises(UsageError, match="is a folder"):
        write_report(small_run, tmp_path)
    with pytest.raises(UsageError, match="there is no folder"):
        write_report(small_run, tmp_path / "missing" / "x.html")
    with pytest.raises(UsageError, match="choose all"):
        write_report(small_run, tmp_path / "x.html", split="nonsense")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["~", "~0", "~~repeat"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(st.lists(json_values), st.text(min_size=8))
def test_what_is_shared_between_trials_comes_back_as_it_was(values: list[Any], often: str) -> None:
    values = [*values, often, [often, {"x": often}]]
    strings, body = packing.shared(values)
    assert often in strings
    assert resolved(body, strings) == values


def test_packs_hold_all_trials_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "PACK_CHARS", 40)
    found = list(packing.packs({"n": n, "t": "x" * 20} for n in range(5)))
    assert [(pack.first, pack.size) for pack in found] == [(n, 1) for n in range(5)]
    assert [unpacked(pack.data)[1][0]["n"] for pack in found] == list(range(5))
