"""The demo model's understanding of English: content words, negation, yes and no, and details."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from playhead.demo_model.vocabulary import CONCEPTS, NUMBERS, STOP_WORDS

Word = tuple[str, bool]
"""A content word, stemmed and mapped to its concept, and True if it is negated."""

DetailKind = Literal["date", "time", "count", "name", "phone", "email", "reference", "money", "free"]
"""Kind of a detail; `free` is any text in the user's own words."""

MAX_MESSAGE_CHARACTERS = 2_000
"""Upper bound on the characters of a message that are read; the rest is ignored."""

_CONCEPTS = {word: group.split()[0] for group in CONCEPTS.splitlines() for word in group.split()}
_STOP = frozenset(STOP_WORDS.split())

_PHRASES = (
    (re.compile(r"\b(?:log|sign)(?:ged|ging|ing)?[ -]?(?:in|on)\b"), "login"),
    (re.compile(r"\bcall(?:ed)? (?:me |us |them )?(?:back|later)\b"), "callback"),
    (re.compile(r"\b(?:set|setting) (?:it )?up\b"), "setup"),
    (re.compile(r"\b(?:bad|not a good|isn't a good) (?:time|moment)\b"), "busy"),
    (re.compile(r"\bgood (?:time|moment)\b"), "not busy,"),
    (re.compile(r"\bhow much\b"), "price"),
    (re.compile(r"\bno longer\b"), "not"),
    (re.compile(r"\b(?:that's|that is|that was|that will be|that'll be) (?:all|it|everything)\b"), "finish"),
    (re.compile(r"\bno,? (?:thanks|thank you)\b|\ball set\b"), "no, finish"),
    (re.compile(r"\b(?:rather (?:have|talk)|would rather)\b"), "prefer"),
    (re.compile(r"\bstill\b"), "not solved,"),
)

_RHETORICAL = re.compile(r"^(?:isn't|aren't|doesn't|don't|can't|couldn't) (?=that|it|you|this|there|the|we)")
_NEGATORS = frozenset({"not", "never", "nothing", "without", "cannot", "neither", "nor", "nobody", "dont"})
_NO_BINDS = frozenset({"more", "other", "further", "else", "longer", "need", "interest", "budget", "money"})
_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_CLAUSE = re.compile(r"[.,;:!?\n]+|\bbut\b|\bso\b")
_SUFFIXES = ("ations", "ation", "ings", "ing", "ied", "ies", "ers", "ed", "es", "ly", "er", "s", "e")

_YES = re.compile(
    r"^(?:(?:oh|well|um|uh|ah|great|thanks|hi|hello)[,.!]? )*(?:"
    r"yes|yeah|yep|yup|sure|ok|okay|correct|right|perfect|exactly|please do|of course|absolutely|certainly|"
    r"definitely|gladly|go ahead|"
    r"(?:looks|sounds|seems) (?:good|right|great|fine|perfect)|"
    r"i do|i did|i would|it did|it is|it does|it's (?:right|fine|ok)|"
    r"all good|fine|good|great|lovely|wonderful|agreed|"
    r"(?:that's|that is|that|everything is|all) (?:right|correct|fine|good|perfect|great|works|worked|helped)"
    r")\b"
)
_NO = re.compile(
    r"^(?:(?:oh|well|um|uh|ah|sorry)[,.!]? )*(?:"
    r"no|nope|nah|not|never|nothing|unfortunately|i don't|i do not|it didn't|it did not|it doesn't|it does not|"
    r"that didn't|didn't|doesn't|isn't|that's not|that is not|that's wrong|wrong)\b"
)
_QUESTION = re.compile(
    r"\?|^(?:and |so |but )?(?:what|when|where|who|which|why|how)\b(?! i\b)|"
    r"^(?:and |so |but )?(?:is|are|isn't|aren't|do|does|don't|did|can|can't|could|may|will|would|has|have)"
    r" (?:i|you|we|it|they|there|he|she|the|this|that|these|my|your|our|anyone|all)\b"
)
_BARE = re.compile(
    r"(?:(?:yes|yeah|yep|sure|ok|okay|fine|right|no|nope|nah)\b[ ,.!]*)+(?:please|thanks|thank you)?[ .!]*"
)
_SMALL_TALK = re.compile(r"(?:hello|hi|hey|good (?:morning|evening|afternoon|day)|thanks|thank you)\b[^?\d]{0,14}$")
_CORRECTION = re.compile(r"\b(?:actually|instead|change|make (?:it|that)|i meant|correction|wrong|not .{1,30} but)\b")
_ANEW = re.compile(
    r"\b(?:another|a new|a second|one more) (?:table|booking|reservation|event|party|case|invoice|issue|problem)\b"
)


@lru_cache(maxsize=8192)
def normalized(text: str) -> str:
    """The text cut to MAX_MESSAGE_CHARACTERS, in lower case, with straight apostrophes and single spaces."""
    return " ".join(text[:MAX_MESSAGE_CHARACTERS].lower().replace("\u2019", "'").split())


def _concept(word: str) -> str:
    if word in _CONCEPTS:
        return _CONCEPTS[word]
    bases = [
        word[: -len(suffix)] + ("y" if suffix in ("ied", "ies") else "")
        for suffix in _SUFFIXES
        if word.endswith(suffix) and len(word) - len(suffix) >= 3
    ]
    word = next((base for base in bases if base in _CONCEPTS), bases[0] if bases else word)
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return _CONCEPTS.get(word, word)


@lru_cache(maxsize=2048)
def words_of(text: str) -> frozenset[Word]:
    """The content words of a text. A negation reaches over the next four words of its clause."""
    text = _RHETORICAL.sub("", normalized(text))
    for pattern, replacement in _PHRASES:
        text = pattern.sub(replacement, text)
    found: set[Word] = set()
    for clause in _CLAUSE.split(text):
        found.update(_clause_words(_TOKEN.findall(clause)))
    return frozenset(found)


def _clause_words(tokens: list[str]) -> Iterable[Word]:
    negated_until = -1
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        binds = token == "no" and following in _NO_BINDS
        if token in _NEGATORS or token.endswith("n't") or binds:
            negated_until = position + 4
        elif token not in _STOP and token != "no" and not token.isdigit():
            yield _concept(token), position <= negated_until


@lru_cache(maxsize=2048)
def says_yes(text: str) -> bool:
    """True if the message starts with a yes."""
    return bool(_YES.search(normalized(text))) and not says_no(text)


@lru_cache(maxsize=2048)
def says_no(text: str) -> bool:
    """True if the message starts with a no."""
    return bool(_NO.search(normalized(text))) and not re.match(r"(?:no problem|not bad)\b", normalized(text))


def is_question(text: str) -> bool:
    """True if the message is a question."""
    return bool(_QUESTION.search(normalized(text)))


def is_small_talk(text: str) -> bool:
    """True if the message is only a greeting or thanks."""
    return bool(_SMALL_TALK.match(normalized(text)))


def is_bare_answer(text: str) -> bool:
    """True if the message is only a yes or a no."""
    return bool(_BARE.fullmatch(normalized(text)))


def is_correction(text: str) -> bool:
    """True if the message withdraws or changes an earlier detail."""
    return bool(_CORRECTION.search(normalized(text)))


def starts_anew(text: str) -> bool:
    """True if the message asks for another booking, case or the like, to which earlier details do not apply."""
    return bool(_ANEW.search(normalized(text)))


def meaning_of(message: str, question: str) -> frozenset[Word]:
    """The content words of a message. A yes or no takes on the words of the question that it answers."""
    said = set(words_of(message))
    if says_yes(message):
        said |= {("confirm", False)} | words_of(question)
    elif says_no(message):
        asked = words_of(question)
        said |= {(word, not negated) for word, negated in asked} | {("confirm", True)}
        if ("confirm", False) in asked:
            said.add(("change", False))
    if is_correction(message):
        said.add(("change", False))
    if ("finish", False) in said or ("else", True) in said:
        said |= {("finish", False), ("else", True)}
    return frozenset(said)


# --- details: dates, numbers, names ---

_NUMBER_WORDS = NUMBERS.split()
_SPELLED = "|".join(_NUMBER_WORDS[1:])
_DIGITS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)}
_NUM = rf"(?:\d{{1,4}}|{_SPELLED})"
_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_DAYS = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_PEOPLE = r"(?:people|persons?|guests?|adults?|of us|seats?|users?|employees|colleagues|friends|pax)"

_DATES = (
    rf"\b{_DAYS},? (?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTHS}\b|\b{_DAYS},? {_MONTHS} \d{{1,2}}\b",
    r"\d{4}-\d\d-\d\d",
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTHS}\b",
    rf"\b{_MONTHS} \d{{1,2}}(?:st|nd|rd|th)?\b",
    r"\b\d{1,2}[/.]\d{1,2}(?:[/.]\d{2,4})?\b",
    rf"(?:\b(?:next|this) )?\b{_DAYS}\b",
    r"\b(?:the day after )?tomorrow\b|\btoday\b|\btonight\b|\byesterday\b",
    r"\b(?:next|last|this) (?:week|weekend|month|year|morning|afternoon|evening)\b",
    r"\bthe \d{1,2}(?:st|nd|rd|th)\b",
)
_TIMES = (
    r"\b\d{1,2}(?:[:.]\d\d)? ?[ap]\.?m\b",
    r"\b\d{1,2}:\d\d\b",
    rf"\b(?:half past|quarter past|quarter to) {_NUM}\b",
    rf"\b{_NUM} o'clock\b|\bnoon\b|\bmidday\b",
    rf"(?<=\bat ){_NUM}\b(?! {_PEOPLE})",
)
_NOT_A_TIME = r"\b(?! ?(?:[ap]\.?m\b|o'clock|[:.]\d))"
_COUNTS = (
    rf"\b{_NUM} {_PEOPLE}\b|\bjust me\b",
    r"(?:(?<=party of )|(?<=table for )|(?<=make it )|(?<=make that )|(?<=there will be ))"
    rf"{_NUM}{_NOT_A_TIME}",
)
_SUMS = (
    r"[$€£] ?\d[\d.,]{0,15}k?",
    r"\b\d[\d.,]{0,15}k?(?: thousand| million)? ?(?:dollars?|euros?|pounds?|usd|eur|€)",
    r"\b\d{1,9}k\b",
)
_REFERENCES = (
    r"#\d{2,}|\b[a-z]{1,4}-?\d{3,}\b",
    r"(?:(?<=order )|(?<=invoice )|(?<=number ))\d{4,}",
)


def _any_of(kind: DetailKind, patterns: tuple[str, ...]) -> tuple[DetailKind, re.Pattern[str]]:
    return kind, re.compile("|".join(patterns))


# In this order: text matched by one pattern is hidden from the next ones.
_DETAILS = (
    _any_of("email", (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}",)),
    _any_of("money", _SUMS),
    _any_of("reference", _REFERENCES),
    _any_of("time", _TIMES),
    _any_of("date", _DATES),
    _any_of("phone", (r"\+?\d[\d ()/-]{6,18}\d",)),
    _any_of("count", _COUNTS),
)
_NAME = re.compile(
    r"(?:\b[Mm]y name is|\b[Nn]ame is|\b[Nn]ame's|\bunder|\bunder the name(?: of)?|"
    r"\b[Tt]his is|\bI am|\bI'm|\b[Ii]t's) "
    r"((?:[A-Z][\w'-]{1,30})(?: [A-Z][\w'-]{1,30}){0,2})"
)
_NOT_A_NAME = re.compile(rf"(?:{_DAYS}|{_MONTHS}|yes|no|ok|okay|the|i)", re.I)


@lru_cache(maxsize=2048)
def details_in(text: str) -> dict[DetailKind, str]:
    """The details in a message that are recognized by their form alone. Do not modify the result: it is cached."""
    read = normalized(text)
    found: dict[DetailKind, str] = {}
    for kind, pattern in _DETAILS:
        if match := pattern.search(read):
            found[kind] = _tidy(kind, match.group(0))
            read = f"{read[: match.start()]}|{read[match.end() :]}"
    if (match := _NAME.search(text[:MAX_MESSAGE_CHARACTERS])) and not _NOT_A_NAME.fullmatch(match.group(1)):
        found["name"] = match.group(1)
    return found


def detail_as(kind: DetailKind, text: str) -> str | None:
    """The detail in an answer to a question for this kind; None if the message does not seem to have one."""
    read = normalized(text).strip(" .!,")
    if kind in details_in(text):
        return details_in(text)[kind]
    if kind == "count" and (match := re.search(rf"\b{_NUM}\b", read)):
        return _tidy(kind, match.group(0))
    if kind == "time" and (match := re.search(rf"\b{_NUM}\b|\b(?:lunch|evening|morning|afternoon)\b", read)):
        return _tidy(kind, match.group(0))
    if (
        kind in ("money", "reference", "phone")
        and not details_in(text)
        and (match := re.search(r"[\w-]*\d[\w.,-]*", read))
    ):
        return match.group(0).strip(".,")
    if kind == "name" and _looks_like_a_name(read):
        return " ".join(part if part[0].isupper() else part.capitalize() for part in text.strip(" .!,").split())
    return None


def _looks_like_a_name(read: str) -> bool:
    parts = read.split()
    if not 1 <= len(parts) <= 4 or says_yes(read) or says_no(read):
        return False
    return all(re.fullmatch(r"[^\W\d_]+(?:['.-][^\W\d_]*)*", part) and part not in _STOP for part in parts)


def _tidy(kind: DetailKind, value: str) -> str:
    value = value.strip(" .,")
    if kind == "count":
        value = "1" if value == "just me" else value.removeprefix("about ")
        first, _, rest = value.partition(" ")
        rest = "people" if rest == "of us" else rest
        return f"{_DIGITS.get(first, first)} {rest}".strip()
    if kind == "date":
        return re.sub(rf"\b(?:{_DAYS}|{_MONTHS})\b", lambda match: match.group(0).capitalize(), value)
    if kind == "reference":
        return value.upper()
    return value
