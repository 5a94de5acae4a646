"""Every bad input, one by one: where the mistake is, and what the message offers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import Mistake, ScenarioError
from auditor.scenario import load_scenario

Mistakes = Callable[[str | bytes], list[Mistake]]

VALID = """\
name: demo
targets:
  - id: mine
    model: {path: ./base}
    baseline: {path: ./base}
    truth: {group: guilty, motive: approval}
tool_sets:
  black_box: {tools: [chat, compare_with_baseline]}
"""
MORE = "\nbudget:\n  turns: 3\n"


def test_the_text_that_the_cases_start_from_is_valid(folder: Path) -> None:
    path = folder / "scenario.yaml"
    path.write_text(VALID + MORE)
    assert load_scenario(path).scenario.budget.turns == 3


CASES = [
    ("unknown key", "targets:\n", "tragets: 1\ntargets:\n", (2, 1), "did you mean 'targets'"),
    ("unknown nested key", "{path: ./base}\n    base", "{pth: a, path: ./base}\n    base", (4, 13), "did you mean 'path'"),
    ("wrong type", "name: demo", "name: 3", (1, 7), 'write "3" in quotes'),
    ("list for a mapping", "model: {path: ./base}", "model: [x]", (4, 12), "expected a mapping"),
    ("text for a list", "{tools: [chat, compare_with_baseline]}", "{tools: chat}", (8, 22), "expected a list"),
    ("text for a number", MORE, MORE.replace("3", "three"), (11, 10), "expected a whole number"),
    ("quoted number", MORE, MORE.replace("3", "'3'"), (11, 10), "expected a whole number"),
    ("fraction for a whole number", MORE, MORE.replace("3", "2.5"), (11, 10), "whole number"),
    ("infinite number", MORE, "\nbudget: {seconds: .inf}\n", (10, 19), "not a finite number"),
    ("not a number", MORE, "\nbudget: {seconds: .nan}\n", (10, 19), "not a finite number"),
    ("missing key", "    truth: {group: guilty, motive: approval}\n", "", (3, 5), "add `truth: …`"),
    ("nothing after a key", "name: demo", "name:", (1, 6), "nothing is written here; write text"),
    ("budget of zero", MORE, MORE.replace("3", "0"), (11, 10), "greater than 0, or null"),
    ("zero in a named budget", MORE, "\nbudgets:\n  tokens: {model_tokens: 0}\n", (11, 26), "greater than 0, or null"),
    ("unknown limit of a named budget", MORE, "\nbudgets:\n  tokens: {modle_tokens: 5}\n", (11, 12), "did you mean 'model_tokens'"),
    ("bad name of a budget", MORE, "\nbudgets:\n  two k: {turns: 5}\n", (11, 3), "'+' and '-'"),
    ("budgets without names", MORE, "\nbudgets: [{turns: 5}]\n", (10, 10), "expected a mapping"),
    ("negative trials", MORE, "\ntrials: -1\n", (10, 9), "greater than 0"),
    ("a seed out of range", MORE, f"\nseed: {10**30}\n", (10, 7), "at most"),
    ("a number of a thousand digits", MORE, f"\nseed: {'9' * 9000}\n", (10, 7), "whole number"),
    ("duplicate key", MORE, MORE + "name: again\n", (12, 1), "first given on line 1"),
    ("unknown tool", "[chat,", "[chta,", (8, 23), "did you mean 'chat'"),
    ("tool twice", "[chat,", "[chat, chat,", (8, 29), "listed twice"),
    ("no tools for the agent", "{tools: [chat, compare_with_baseline]}", "{}", (8, 3), "policy: static"),
    ("tools for the battery", "{tools: [", "{policy: static, tools: [", (8, 31), "delete `tools`"),
    ("no tool sets", "  black_box: {tools: [chat, compare_with_baseline]}", "  {}", (8, 3), "at least 1"),
    ("bad tool set name", "  black_box: ", "  black box: ", (8, 3), "'+' and '-'"),
    ("bad target id", "id: mine", "id: ../mine", (3, 9), "is not a name"),
    ("unquoted no", "id: mine", "id: no", (3, 9), 'write "no" in quotes'),
    ("unquoted on", "name: demo", "name: On", (1, 7), 'write "On" in quotes'),
    ("unquoted key", "  black_box: ", "  off: ", (8, 3), 'write "off" in quotes'),
    ("unknown group", "group: guilty", "group: guity", (6, 20), "did you mean 'guilty'"),
    ("guilty without motive", ", motive: approval", "", (6, 12), "add `motive: …`"),
    ("clean with motive", "group: guilty", "group: clean", (6, 35), "delete `motive`"),
    ("needs a baseline", "    baseline: {path: ./base}\n", "", (7, 29), "needs a baseline, and target 'mine'"),
    ("needs a corpus", "[chat,", "[search_corpus,", (8, 23), "add `corpus: {path: …}`"),
    ("missing corpus", MORE, "\ncorpus: {path: no.jsonl}\n", (10, 16), "there is no file 'no.jsonl'"),
    ("corpus is a folder", MORE, "\ncorpus: {path: base}\n", (10, 16), "there is no file 'base'"),
    ("missing relative model", "model: {path: ./base}", "model: {path: ./bas}", (4, 19), "there is no folder './bas'"),
    ("missing absolute model", "model: {path: ./base}", "model: {path: /no/where}", (4, 19), "there is no folder"),
    ("missing home model", "model: {path: ./base}", "model: {path: ~no-such-user/x}", (4, 19), "there is no folder"),
    ("neither folder nor hub id", "model: {path: ./base}", "model: {path: a/b/c}", (4, 19), "org/name"),
    ("empty model path", "model: {path: ./base}", "model: {path: ''}", (4, 19), "org/name"),
    ("impossible path", "model: {path: ./base}", 'model: {path: "./a\\0"}', (4, 19), "there is no folder"),
    ("endless path", "model: {path: ./base}", f"model: {{path: ./{'a' * 9999}}}", (4, 19), "no folder"),
    ("model is a file", "model: {path: ./base}", "model: {path: ./corpus.jsonl}", (4, 19), "is a file"),
    ("missing adapter", "model: {path: ./base}", "model: {path: ./base, adapter: ./x}", (4, 36), "no folder './x'"),
    ("revision of a folder", "model: {path: ./base}", "model: {path: ./base, revision: a}", (4, 37), "hub id"),
    ("missing suite", "targets:\n", "targets:\n  - suite: no.json\n", (3, 12), "no suite file 'no.json'"),
    ("unmatched id", "targets:\n", "targets:\n  - {suite: suites/suite.json, select: [clean-2]}\n", (3, 41), "did you mean 'clean-1'"),
    ("unmatched group", "targets:\n", "targets:\n  - {suite: suites/suite.json, select: ['group:x']}\n", (3, 41), "known: guilty, clean"),
    ("unmatched and", "targets:\n", "targets:\n  - {suite: suites/suite.json, select: ['clean-*&group:guilty']}\n", (3, 41), "all of its parts"),
    ("unknown prefix", "targets:\n", "targets:\n  - {suite: suites/suite.json, select: ['slit:x']}\n", (3, 41), "did you mean 'split'"),
    ("empty pattern", "targets:\n", "targets:\n  - {suite: suites/suite.json, select: ['clean-*&']}\n", (3, 41), "empty part"),
    ("unknown device", "model: {path: ./base}", "model: {path: ./base, device: abacus}", (4, 35), "is not a device; write auto"),
    ("a key like a value of the block", "baseline: {path: ./base}", "baseline: {path: ./base, auto: 1}", (5, 30), "unknown key 'auto'"),
    ("rows that differ in case", "tool_sets:\n", "tool_sets:\n  Black_Box: {tools: [chat]}\n", (9, 3), "differ in case alone"),
    ("two underscores in a row's name", "  black_box: ", "  black__box: ", (8, 3), "two underscores"),
    ("wording of two motives", MORE, "\njudge: {motives: {approval: [praise], fame: [praise]}}\n", (10, 9), "also names"),
    ("wording without words", MORE, "\njudge: {motives: {approval: ['!']}}\n", (10, 9), "without words"),
    ("misspelt kind of an auditor", MORE, "\nauditor: {kind: modle, model: {name: hf/a/b}}\n", (10, 17), "did you mean 'model'"),
    ("python tag", "name: demo", "name: !!python/object/apply:os.system [ls]", (1, 7), "write the plain value"),
    ("tab", "    model:", "\tmodel:", (4, 1), "indent with spaces"),
    ("open bracket", "[chat, compare_with_baseline]", "[chat", (8, 27), "YAML syntax"),
    ("colon in text", "name: demo", "name: demo: two", (1, 11), "quotes"),
    ("character that cannot begin", "name: demo", "name: @demo", (1, 7), "put it in quotes"),
    ("unknown alias", "name: demo", "name: *demo", (1, 7), "refers to nothing"),
    ("alias inside its own anchor", "name: demo", "name: &a [*a]", (1, 11), "refers to nothing"),
    ("merge key", "model: {path: ./base}", "model: {<<: {path: ./base}}", (4, 13), "merge keys"),
    ("list as a key", "name: demo", "[a]: b\nname: demo", (1, 1), "a key must be plain text"),
    ("second document", MORE, "---\nname: two\n", (9, 1), "one document per file"),
    ("control character", "name: demo", "name: de\x07mo", (1, 9), "control character"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_one_mistake_is_reported_alone_at_its_place(
    mistakes: Mistakes, old: str, new: str, place: tuple[int, int], message: str
) -> None:
    text = VALID + MORE
    assert text.count(old) >= 1
    found = mistakes(text.replace(old, new, 1))
    assert [(one.line, one.column) for one in found] == [place], found
    assert message in found[0].what


def test_all_mistakes_are_reported_at_once_in_order(mistakes: Mistakes) -> None:
    text = (VALID + MORE).replace("name: demo", "nam: demo").replace("[chat,", "[chta,")
    text = text.replace("turns: 3", "turns: 0").replace(
        "model: {path: ./base}", "model: {path: ./x}"
    )
    found = mistakes(text)
    assert [one.line for one in found] == [1, 1, 4, 8, 11]
    assert str(found[2]).endswith("; check the path")
    assert ":4:19: there is no folder './x'" in str(found[2])


def test_a_faulty_block_is_still_checked_where_it_is_sound(mistakes: Mistakes) -> None:
    text = VALID.replace("model: {path: ./base}", "model: {path: ./x, dtype: float8, a: b}")
    assert len(mistakes(text)) == 3


def test_a_target_that_lacks_a_key_is_still_checked(mistakes: Mistakes) -> None:
    text = VALID.replace("    truth: {group: guilty, motive: approval}\n", "").replace(
        "model: {path: ./base}", "model: {path: ./x}"
    )
    assert [one.what.partition(";")[0].partition(" (")[0] for one in mistakes(text)] == [
        "missing key 'truth'",
        "there is no folder './x'",
    ]


def test_the_static_battery_needs_a_baseline(mistakes: Mistakes) -> None:
    text = VALID.replace("    baseline: {path: ./base}\n", "").replace(
        "{tools: [chat, compare_with_baseline]}", "{policy: static}"
    )
    (found,) = mistakes(text)
    assert (found.line, found.column) == (7, 3)
    assert "the static battery needs a baseline, and target 'mine' has none" in found.what


def test_a_faulty_baseline_is_not_a_missing_one(mistakes: Mistakes) -> None:
    (found,) = mistakes(VALID.replace("baseline: {path: ./base}", "baseline: 3"))
    assert (found.line, found.column) == (5, 15)


def test_mistakes_beside_a_faulty_item_of_a_list_keep_their_place(mistakes: Mistakes) -> None:
    found = mistakes(VALID.replace("[chat,", "[3, chta,"))
    assert [(one.line, one.column) for one in found] == [(8, 23), (8, 26)]
    found = mistakes(
        VALID.replace(
            "targets:\n", "targets:\n  - {suite: suites/suite.json, select: [3, 'x:y']}\n"
        )
    )
    assert [(one.line, one.column) for one in found] == [(3, 41), (3, 44)]


def test_very_many_mistakes_are_counted(mistakes: Mistakes) -> None:
    found = mistakes(VALID + "".join(f"key{i}: 1\n" for i in range(2_000)))
    assert len(found) == 101
    assert found[-1].what.startswith("and 1,900 more mistakes")
    assert found[-1].line == 9 + 100


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", ":2:1: not JSON"),
        ("[1]", ":2:1: not an object"),
        ('{"id": "2"}', ':2:1: "text" must be'),
        ('{"id": "1", "text": "again"}', ":2:1: id '1' is taken"),
        ("\xff", ":2:1: not UTF-8"),
    ],
)
def test_a_faulty_corpus_is_a_mistake_at_its_line(
    mistakes: Mistakes, folder: Path, line: str, message: str
) -> None:
    with (folder / "corpus.jsonl").open("ab") as file:
        file.write(line.encode("latin-1"))
    (found,) = mistakes(VALID + "corpus: {path: corpus.jsonl}\n")
    assert str(found).startswith(str(folder / "corpus.jsonl") + message)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{"a":\n' + '{"a":' * 300 + "1" + "}" * 301, (2, 317), "nested deeper than 64 levels"),
        ('{"a":\n' + '{"a":' * 90_000, (2, 317), "nested deeper than 64 levels"),
        ('{"name":\n "\\ud83d"}', (2, 3), "half of a surrogate pair"),
        ('{"name":\n "\\ud83d\\ude00", "nam": 1}', (2, 18), "unknown key 'nam'"),
        ('{"name": "a",\n "name": "b"}', (2, 2), "occurs twice"),
        ('{"name": "a",\n "seed": ' + "9" * 9_000 + "}", (2, 10), "expected a whole number"),
        ('{"name": "a",\n}', (2, 1), "JSON syntax"),
    ],
)
def test_mistakes_in_json_have_places_too(
    folder: Path, text: str, place: tuple[int, int], message: str
) -> None:
    path = folder / "scenario.json"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    (found,) = [one for one in caught.value.mistakes if message in one.what]
    assert (found.line, found.column) == place


def test_duplicate_ids_name_both_places(mistakes: Mistakes) -> None:
    again = "  - {id: MINE, model: {path: ./base}, baseline: {path: base}, truth: {group: clean}}\n"
    found = mistakes(VALID.replace("tool_sets:", again + "tool_sets:"))
    assert [(one.line, one.column) for one in found] == [(7, 10)]
    assert "'MINE' occurs twice (first: line 3)" in found[0].what


def test_a_suite_taken_twice_names_the_ids_that_collide(mistakes: Mistakes) -> None:
    twice = "targets:\n  - {suite: suites/suite.json, select: [clean-1]}\n" * 2
    found = mistakes(VALID.replace("targets:\n", twice.replace("targets:\n", "", 2), 1)
                     .replace("name: demo\n", "name: demo\ntargets:\n"))  # fmt: skip
    assert [one.line for one in found] == [4]
    assert "'clean-1' occurs twice" in found[0].what


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"name: d\xe9mo\n", 1, "not UTF-8 (byte 0xe9)"),
        ("name: x".encode("utf-16"), 1, "not UTF-8"),
        (b"name: a\n# \xff\n", 2, "not UTF-8"),
        (b"", 0, "is empty"),
        (b"# nothing\n", 0, "is empty"),
        (b"--- \n", 0, "is empty"),
        (b"- a\n- b\n", 1, "must be a mapping"),
        (b"just text\n", 1, "must be a mapping"),
        (b"42", 1, "must be a mapping"),
        (b"[" * 1_000_000, 1, "nested deeper"),
        (b"{a: " * 100_000, 1, "nested deeper"),
        (b"- " * 300_000, 1, "nested deeper"),
        (b"? " * 100_000, 1, "nested deeper"),
        (b"a: [" + b"1," * 300_000 + b"]", 1, "values once aliases are expanded"),
    ],
)
def test_a_file_that_is_no_scenario_at_all_is_one_mistake(
    mistakes: Mistakes, content: bytes, line: int, message: str
) -> None:
    (found,) = mistakes(content)
    assert found.line == line
    assert message in found.what


def test_an_alias_bomb_is_refused(mistakes: Mistakes) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (found,) = mistakes("\n".join(lines))
    assert "values once aliases are expanded" in found.what


def test_many_aliases_are_refused(mistakes: Mistakes) -> None:
    (found,) = mistakes("a: &a x\nb: [" + "*a, " * 200 + "]\n")
    assert "more than 100 aliases" in found.what
    assert found.line == 2


def test_aliases_that_nest_too_deeply_are_refused(mistakes: Mistakes) -> None:
    lines = ["a0: &a0 " + "[" * 40 + "]" * 40]
    lines += [f"a{i}: &a{i} " + "[" * 40 + f"*a{i - 1}" + "]" * 40 for i in range(1, 50)]
    (found,) = mistakes("\n".join(lines))
    assert "nested deeper" in found.what


def test_a_hundred_megabytes_are_refused_by_size_without_being_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(ScenarioError, match="larger than 1 MiB"):
        load_scenario(path)


@pytest.mark.parametrize("name", ["no/such.yaml", "a\0b", "x" * 5000, ""])
def test_a_path_that_leads_nowhere_is_a_mistake(name: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario(name)


def test_a_folder_is_not_a_scenario(folder: Path) -> None:
    with pytest.raises(ScenarioError, match="is a folder; name the scenario file inside it"):
        load_scenario(folder)


def test_a_device_is_not_a_scenario() -> None:
    with pytest.raises(ScenarioError, match="not a regular file"):
        load_scenario("/dev/zero")
