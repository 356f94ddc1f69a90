"""The calculator: exact arithmetic, and bounds that hold for any text."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agents.calculator import MAX_EXPRESSION_CHARACTERS, CalculationError, calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2000 + 5000", "7000"),
        ("0.1 + 0.2", "0.3"),
        ("1 - 0.9", "0.1"),
        ("1.10 * 3", "3.3"),
        ("(1 + 2) * 3 - 4", "5"),
        ("2 + 3 * 4", "14"),
        ("10 / 4", "2.5"),
        ("10 / 3", "3.33333333333333"),
        ("2 / 3", "0.666666666666667"),
        ("1 / 3 * 3", "1"),
        ("7 // 2", "3"),
        ("-7 // 2", "-4"),
        ("7 % 3", "1"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("-2 ** 2", "-4"),
        ("2 ** 3 ** 2", "512"),
        ("2 ^ 10", "1024"),
        ("2 ** -2", "0.25"),
        ("0 ** 0", "1"),
        ("--3", "3"),
        ("1e3", "1000"),
        (".5 + 1.", "1.5"),
        ("3 \u00d7 4 \u00f7 2 \u2212 1", "5"),
        ("100000000000000000000 + 1", "100000000000000000001"),
        ("9 ** 999", "1.94207916858072E+953"),
        ("0 * -1", "0"),
    ],
)
def test_arithmetic(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "not complete"),
        ("1 +", "not complete"),
        ("(1", "not closed"),
        ("1)", "operator is missing"),
        ("5 5", "operator is missing"),
        ("* 2", "number is missing"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("1 // 0", "division by zero"),
        ("0 ** -1", "division by zero"),
        ("(-8) ** 0.5", "no real number"),
        ("9 ** 9 ** 9", "exponent is larger"),
        ("9 ** -10000", "exponent is larger"),
        ("1e999 * 1e999", "digits"),
        ("10 ** 1000", "digits"),
        ("1e9999", "digits"),
        ("1,000 + 2", "separators"),
        ("__import__('os')", "cannot be calculated"),
        ("price * 2", "cannot be calculated"),
        ("(" * 60 + "1" + ")" * 60, "nested"),
        ("-" * 60 + "1", "nested"),
        ("1" * (MAX_EXPRESSION_CHARACTERS + 1), "characters"),
    ],
)
def test_an_expression_that_cannot_be_calculated_is_explained(expression: str, fault: str) -> None:
    with pytest.raises(CalculationError, match=fault):
        calculate(expression)


def test_the_largest_expressions_take_no_time() -> None:
    started = time.process_time()
    for expression in ("9**999**1" + "*9**999" * 70, "9.99**999.99" + "/9.99**999.99" * 35, "1e999//3%" * 50 + "7"):
        try:
            calculate(expression[:MAX_EXPRESSION_CHARACTERS])
        except CalculationError:
            continue
    assert time.process_time() - started < 1


@given(st.text(alphabet="0123456789.eE+-*/%^() x,", max_size=60) | st.text(max_size=30))
def test_any_text_gives_a_number_or_an_explanation(expression: str) -> None:
    try:
        value = calculate(expression)
    except CalculationError:
        return
    assert Decimal(value).is_finite()
    assert len(value) < 60


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_calculated_as_python_does(left: int, right: int) -> None:
    assert calculate(f"{left} * {right} + {left} - {right}") == str(left * right + left - right)
    if right:
        assert calculate(f"({left}) // ({right})") == str(left // right)
        assert calculate(f"({left}) % ({right})") == str(left % right)
