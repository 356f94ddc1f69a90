"""A calculator for arithmetic that a model writes: decimal numbers, bounded in time, size and exponent.

Nothing is compiled or evaluated by Python. An expression is read once, from left to right, into decimal numbers of 34
digits. Grammar, from the weakest to the strongest operator; `^` is the same as `**`:

    sum     = product (("+" | "-") product)*
    product = sign (("*" | "/" | "//" | "%") sign)*
    sign    = ("+" | "-") sign | power
    power   = atom ("**" sign)?
    atom    = number | "(" sum ")"
"""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, DecimalException, Inexact, Rounded
from typing import Final

MAX_EXPRESSION_CHARACTERS: Final = 500
MAX_NESTING: Final = 40
"""Levels of parentheses, signs and powers."""
MAX_EXPONENT: Final = 1_000
"""Largest exponent of a power, and number of digits before the decimal point of any result."""
_DIGITS: Final = 34
_SHOWN_DIGITS: Final = 15
"""Digits of a result that is not exact."""

_TOKEN = re.compile(r"\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)|(\*\*|//|[-+*/%^()]))")
# Signs of multiplication and division, the minus sign and the dash.
_TYPOGRAPHIC = str.maketrans({0xD7: "*", 0xB7: "*", 0xF7: "/", 0x2212: "-", 0x2013: "-"})


class CalculationError(ValueError):
    """An expression that cannot be calculated. The message is for the model."""


def calculate(expression: str) -> str:
    """The value of an arithmetic expression as text. Raises CalculationError."""
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise CalculationError(f"the expression has more than {MAX_EXPRESSION_CHARACTERS} characters; calculate parts")
    context = Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT)
    context.clear_traps()
    reader = _Reader(_tokens(expression.translate(_TYPOGRAPHIC)), context)
    value = reader.whole()
    if not value.is_finite():
        raise CalculationError("the result is no finite number")
    return _text(value, is_exact=not (context.flags[Inexact] or context.flags[Rounded]))


def _tokens(expression: str) -> list[str]:
    found, at, text = [], 0, expression.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise CalculationError(
                f"{text[at:].strip()[:20]!r} cannot be calculated; write numbers without separators, and only "
                "+ - * / // % ** and parentheses"
            )
        found.append(match[1] or match[2])
        at = match.end()
    return found


class _Reader:
    """Reads the tokens of one expression and calculates on the way."""

    def __init__(self, tokens: list[str], context: Context) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._context = context
        self._sums: Mapping[str, _Operation] = {"+": context.add, "-": context.subtract}
        self._products: Mapping[str, _Operation] = {
            "*": context.multiply,
            "/": self._quotient,
            "//": self._floor,
            "%": self._remainder,
        }

    def whole(self) -> Decimal:
        value = self._sum()
        if self._at < len(self._tokens):
            raise CalculationError(f"an operator is missing before {self._tokens[self._at]!r}")
        return value

    def _sum(self) -> Decimal:
        return self._chain(self._product, self._sums)

    def _product(self) -> Decimal:
        return self._chain(self._sign, self._products)

    def _chain(self, part: Callable[[], Decimal], operations: "Mapping[str, _Operation]") -> Decimal:
        value = part()
        while (operation := operations.get(self._next())) is not None:
            self._at += 1
            value = self._checked(operation(value, part()))
        return value

    def _sign(self) -> Decimal:
        if self._next() not in ("+", "-"):
            return self._power()
        negative = self._next() == "-"
        self._at += 1
        value = self._nested(self._sign)
        return value.copy_negate() if negative else value

    def _power(self) -> Decimal:
        base = self._atom()
        if self._next() not in ("**", "^"):
            return base
        self._at += 1
        exponent = self._nested(self._sign)
        if abs(exponent) > MAX_EXPONENT:
            raise CalculationError(f"the exponent is larger than {MAX_EXPONENT:,}")
        if not base and exponent <= 0:
            if exponent < 0:
                raise CalculationError("division by zero")
            return Decimal(1)
        return self._checked(self._context.power(base, exponent))

    def _atom(self) -> Decimal:
        token = self._next()
        self._at += 1
        if token == "(":
            value = self._nested(self._sum)
            if self._next() != ")":
                raise CalculationError("a parenthesis is not closed")
            self._at += 1
            return value
        if not token:
            raise CalculationError("the expression is not complete")
        if token[0] not in ".0123456789":
            raise CalculationError(f"a number is missing before {token!r}")
        return self._checked(self._context.create_decimal(token))

    def _nested(self, part: Callable[[], Decimal]) -> Decimal:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise CalculationError(f"the expression is nested more than {MAX_NESTING} levels deep")
        value = part()
        self._depth -= 1
        return value

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _quotient(self, left: Decimal, right: Decimal) -> Decimal:
        if not right:
            raise CalculationError("division by zero")
        return self._context.divide(left, right)

    def _floor(self, left: Decimal, right: Decimal) -> Decimal:
        return self._quotient(left, right).to_integral_value(rounding=ROUND_FLOOR)

    def _remainder(self, left: Decimal, right: Decimal) -> Decimal:
        """The remainder with the sign of the divisor, so that -7 % 3 is 2."""
        if not right:
            raise CalculationError("division by zero")
        value = self._checked(self._context.remainder(left, right))
        return self._context.add(value, right) if value and (value < 0) != (right < 0) else value

    def _checked(self, value: Decimal) -> Decimal:
        if value.is_nan():
            raise CalculationError("the result is no real number")
        if value.is_infinite() or value.adjusted() >= MAX_EXPONENT:
            raise CalculationError(f"a number has more than {MAX_EXPONENT:,} digits")
        return value


_Operation = Callable[[Decimal, Decimal], Decimal]


def _text(value: Decimal, *, is_exact: bool) -> str:
    """The number in plain notation if it is short, without zeros at its end."""
    rounded = value if is_exact else Context(prec=_SHOWN_DIGITS, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT).plus(value)
    try:
        short = rounded.normalize(Context(prec=_DIGITS, Emax=MAX_EXPONENT, Emin=-MAX_EXPONENT))
    except DecimalException:
        return str(rounded)
    if not short:
        return "0"
    return f"{short:f}" if -_DIGITS < short.adjusted() < _DIGITS else str(short)
