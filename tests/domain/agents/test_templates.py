"""Templates: values are inserted once, and errors never fail a turn."""

import time
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agents.templates import Variable, render, syntax_errors, variables

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)
# Made of the tokens of the syntax, so that examples are often nearly templates.
TEMPLATES = st.lists(
    st.sampled_from(["{{", "}}", "{", "}", "|", ".", " ", "\n", "name", "0", "fallback:", "{{name}}"])
    | st.text(max_size=5)
).map("".join)

VALUES = {
    "name": "Ann",
    "none": None,
    "empty": "",
    "yes": True,
    "three": 3.0,
    "half": 0.5,
    "guest": {"first name": "x", "first": "Bo", "tags": ["vip", "regular"]},
    "list": [1, "two"],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello {{name}}.", "Hello Ann."),
        ("{{ name }}{{\nname\n}}", "AnnAnn"),
        ("{{guest.first}} {{guest.tags.1}}", "Bo regular"),
        ("{{ guest . first }}", "Bo"),
        ("{{yes}} {{three}} {{half}}", "true 3 0.5"),
        ("{{list}}", '[1, "two"]'),
        ("{{unknown}}|{{none}}|{{empty}}", "||"),
        ("{{unknown | dear guest}}", "dear guest"),
        ("{{none | fallback:dear guest}}", "dear guest"),
        ("{{empty | fallback: dear guest }}", "dear guest"),
        ("{{name | dear guest}}", "Ann"),
        ("{{name | }}{{unknown | }}", "Ann"),
        ("{{unknown | a | b}}", "a | b"),
        ("{{unknown | maybe {this} }}", "maybe {this}"),
        ("{{guest.tags.7 | none}} {{guest.tags.x | none}} {{name.0 | none}}", "none none none"),
        ("{{{name}}}", "{Ann}"),
    ],
)
def test_variables_and_fallbacks_are_rendered(template: str, expected: str) -> None:
    assert render(template, VALUES) == expected


@pytest.mark.parametrize("template", ["{{", "}}", "{name}", "{{user name}}", "{{}}", "{{a..b}}", '{"a": {"b": 1}}'])
def test_text_that_is_no_template_stays_as_written(template: str) -> None:
    assert render(template, VALUES) == template


def test_an_unclosed_variable_does_not_swallow_the_next_one() -> None:
    assert render("{{oops and {{name}}", VALUES) == "{{oops and Ann"


class Unprintable:
    """Raises when it is converted to text."""

    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    __repr__ = __str__


def test_values_that_json_cannot_hold_do_not_fail_a_turn() -> None:
    endless: list[object] = []
    endless.append(endless)
    values: Mapping[str, object] = {
        "cycle": endless,
        "huge": 10**5000,
        "odd": Unprintable(),
        "price": Decimal("3.00"),
    }
    assert render("{{cycle | a}} {{huge | b}} {{odd | c}}", values) == "a b c"
    assert render("{{price}}", values) == "3.00"
    assert render("{{n}} {{i}}", {"n": float("nan"), "i": 1e300}) == "nan 1e+300"


@given(TEMPLATES, st.dictionaries(st.text(max_size=5) | st.just("name"), JSON, max_size=4))
def test_no_template_and_no_value_makes_rendering_raise(template: str, values: dict[str, object]) -> None:
    assert isinstance(render(template, values), str)
    assert all(": " in message for message in syntax_errors(template))
    assert all(isinstance(variable, Variable) for variable in variables(template))


@given(TEMPLATES, TEMPLATES)
def test_an_inserted_value_is_never_expanded(said: str, secret: str) -> None:
    rendered = render("You said: {{said}}; {{said | x}}.", {"said": said, "name": secret})
    assert rendered == f"You said: {said}; {said or 'x'}."


@given(TEMPLATES)
def test_a_template_without_faults_keeps_no_opening_braces_of_its_own(template: str) -> None:
    plain = template.replace("|", "")  # a fallback may hold any braces
    if not syntax_errors(plain) and "{{{" not in plain:  # braces around a missing value become adjacent
        assert "{{" not in render(plain, {})


@given(st.text(alphabet="{}|a \n", max_size=40))
def test_a_text_without_double_braces_is_sound_and_unchanged(text: str) -> None:
    if "{{" not in text:
        assert syntax_errors(text) == []
        assert render(text, {"a": "b"}) == text


@pytest.mark.parametrize("piece", ["{{", "{{a", "{{a|", "{", "{{ }", "{{a}}", "{{a }\n"])
def test_rendering_and_checking_take_linear_time(piece: str) -> None:
    def seconds(repeats: int) -> float:
        template = piece * repeats
        started = time.process_time()
        render(template, {})
        syntax_errors(template)
        return time.process_time() - started

    # Eight times the text in eight times the time; quadratic work would take 64 times as long.
    small = min(seconds(5_000) for _ in range(3))
    assert seconds(40_000) < 30 * small + 0.05


def test_syntax_faults_name_line_and_column() -> None:
    assert syntax_errors("Hello {{name}}.\nSee {{user name}} and\n {{this") == [
        'line 2, column 5: "{{user name}}" does not name a variable',
        'line 3, column 2: "{{" is never closed by "}}"',
    ]


@pytest.mark.parametrize("template", ["", "{{a}}", "{{a | }}", "{{{a}}}", '{"a": {"b": 1}}', "}} {", "{{größe}}"])
def test_sound_templates_have_no_faults(template: str) -> None:
    assert syntax_errors(template) == []


@pytest.mark.parametrize("template", ["{{", "{{}}", "{{ | x}}", "{{a b}}", "{{a.}}", "{{a", "{{a {{b}}", '{{"a": 1}}'])
def test_broken_templates_have_exactly_one_fault(template: str) -> None:
    assert len(syntax_errors(template)) == 1


def test_variables_are_listed_once_and_lack_a_fallback_when_any_mention_lacks_it() -> None:
    template = "{{b | x}} {{a}} {{a | y}} {{ c . d | }} {{not one}} {{b | z}}"
    assert variables(template) == (Variable("b", True), Variable("a", False), Variable("c.d", True))
