from hypothesis import given
from hypothesis import strategies as st

from tools.docstrings import parse_docstring

names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
sentences = st.lists(
    st.from_regex(r"[A-Za-z0-9(),.]{1,10}", fullmatch=True), min_size=1, max_size=12
).map(" ".join)


def documented(text):
    def function():
        pass

    function.__doc__ = text
    return parse_docstring(function)


@given(description=sentences, parameters=st.dictionaries(names, sentences, max_size=5))
def test_what_is_written_is_read_back(description, parameters):
    entries = "".join(f"        {key}: {help_}\n" for key, help_ in parameters.items())
    parsed = documented(f"{description}\n\n    Args:\n{entries}\n    Returns:\n        x: y\n    ")
    assert parsed.description == description
    assert parsed.parameters == parameters


@given(words=st.lists(st.from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=2, max_size=8))
def test_help_may_run_over_several_lines(words):
    broken = "\n            ".join(words)
    parsed = documented(f"D.\n\n    Args:\n        key: {broken}\n        other: one\n    ")
    assert parsed.parameters == {"key": " ".join(words), "other": "one"}


def test_paragraphs_of_the_description_stay_apart():
    parsed = documented(
        "One\n    line.\n\n    Two.\n\n    Raises:\n        ValueError: Never.\n    "
    )
    assert parsed.description == "One line.\n\nTwo."
    assert parsed.parameters == {}


def test_a_type_in_brackets_is_no_part_of_the_help():
    assert documented("D.\n\n    Args:\n        n (int): How many.\n").parameters == {
        "n": "How many."
    }


def test_no_docstring_is_no_help():
    assert documented(None) == ("", {}, {})


def test_notes_stand_apart_from_the_description():
    help_ = documented(
        "Do it.\n\n    Source:\n        A paper,\n        2024.\n\n    Cost:\n        Nothing.\n\n    Args:\n        a: One.\n"
    )
    assert help_.description == "Do it."
    assert help_.notes == {"Source": "A paper, 2024.", "Cost": "Nothing."}
    assert help_.parameters == {"a": "One."}
