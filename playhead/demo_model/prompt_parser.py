"""Parser of node prompts: questions to ask, sentences to say, facts, and conditions of transitions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from playhead.demo_model.language import DetailKind, Word, words_of
from playhead.demo_model.vocabulary import NUMBERS

MAX_PROMPT_CHARACTERS = 20_000
"""Upper bound on the characters of the instructions that are read, from their end, where the node's prompt is."""


@dataclass(frozen=True)
class Offer:
    """A transition that the model may take: its tool, and the text of its condition."""

    tool: str
    when: str


@dataclass(frozen=True)
class Slot:
    """A detail to ask for. `key` is its name in the collected details."""

    kind: DetailKind
    label: str
    question: str

    @property
    def key(self) -> str:
        return self.label if self.kind == "free" else self.kind

    @property
    def needs_words(self) -> bool:
        """True if a bare yes or no does not answer the question."""
        return not re.match(r"(?:whether|if|any)\b", self.label)


@dataclass(frozen=True)
class PromptItem:
    """One task of a prompt: ask for a detail, say a sentence, sum up, or ask the question that chooses a transition."""

    act: Literal["ask", "say", "sum_up", "route"]
    text: str
    slot: Slot | None = None


@dataclass(frozen=True)
class Condition:
    """A condition of a transition: all details are known, a number compares, or words match."""

    complete: bool = False
    compare: Literal["more", "fewer"] | None = None
    bound: int = 0
    words: frozenset[Word] = frozenset()


@dataclass(frozen=True)
class PromptTransition:
    """An offered transition with its parsed conditions, of which any is sufficient."""

    offer: Offer
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class NodePrompt:
    """The parsed prompt of a node."""

    persona: str | None
    items: tuple[PromptItem, ...]
    facts: tuple[str, ...]
    transitions: tuple[PromptTransition, ...]
    says_goodbye: bool
    answers: bool

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(item.slot for item in self.items if item.slot is not None)


_PERSONA = re.compile(
    r"\b[Yy]ou\b[^.\n]{0,80}?\b(?:for|at|from|of|behalf of)\s+(?:the\s+)?([A-Z][\w&'-]*(?:\s+(?:of\s+)?[A-Z][\w&'-]*)*)"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”]?\s+(?=[A-Z\"“\[])|\n{2,}")
_CONDITIONAL = re.compile(r"^(?:if|when|whenever|unless|once|only|never|do not|don't|always|before|after)\b", re.I)
_ASK = re.compile(
    r"(?<!not )(?<!never )\b(?:ask|find out|collect|gather|get|learn|establish|request)\b:?\s+"
    r"(?:(?:the )?(?:caller|customer|person|user|visitor|client|them|him|her)\s+)?(?:for\b:?\s*|about\s+)?"
    r"(?=(?:the|a|an|their|his|her|your|how|what|when|where|which|who|whom|whose|why|whether|if|name|email|any|"
    r"date|time|party)\b)",
    re.I,
)
_NOT_ASKED = re.compile(r"^(?:one question|a question|questions|the (?:right|next) questions?)\b", re.I)
_TELL = re.compile(
    r"\b(?:tell|let|explain|say|mention|inform|remind|assure)\b(?: to)?(?: (?:the )?\w+)?(?: know)?,? that\s+",
    re.I,
)
_SUGGEST = re.compile(r"\b(?:suggest|recommend|propose)\s+", re.I)
_APOLOGISE = re.compile(r"\bapologi[sz]e\b(?: to (?:the )?\w+)?(?: for)?", re.I)
_SUM_UP = re.compile(r"\b(?:read|repeat|go over|summari[sz]e|recap)\s+(?:back\s+)?(?:the|all|every|their|what)\b", re.I)
_GOODBYE = re.compile(
    r"\b(?:good-?bye|farewell|bye|close the (?:call|conversation|chat)|end the (?:call|chat))\b", re.I
)
_NEXT_CLAUSE = re.compile(
    r",?\s+(?:and|then|and then)\s+(?:ask|say|tell|find|thank|suggest|explain)\b.*$|[,;]\s+then\b.*$", re.I
)
_ITEM_SPLIT = re.compile(r"\s*[,;]\s*(?:and\s+)?|\s+and\s+", re.I)
_FACT = re.compile(
    r"^(?!you\b|ask\b|be\b|use\b|keep\b)(?:[\w&'-]+\s+){1,6}?(?:is|are|costs?|takes?|has|have|opens?|closes?|changes?|"
    r"turns?|stays?|lasts?|includes?|offers?|can|needs?|seats?|starts?|runs?)\b",
    re.I,
)
_ABOUT_THE_CALL = re.compile(
    r"\bthe (?:caller|customer|user|person|visitor|client)\b|\b(?:callers|customers|you|your)\b", re.I
)

_KINDS: tuple[tuple[DetailKind, re.Pattern[str]], ...] = (
    ("email", re.compile(r"\be-?mail\b")),
    ("phone", re.compile(r"\b(?:tele)?phone\b|\bmobile\b|\bnumber to (?:reach|call)\b|\bcallback number\b")),
    (
        "reference",
        re.compile(r"\b(?:order|booking|ticket|invoice|account|tracking|reference|case) (?:number|id|code)\b"),
    ),
    ("count", re.compile(r"\bparty size\b|\bhow many\b|\bnumber of\b|\bteam size\b|\bhead ?count\b")),
    ("money", re.compile(r"\bbudget\b|\bamount\b|\bhow much\b")),
    ("date", re.compile(r"^(?:\w+ )?(?:date|day)\b|^when\b|\b(?:what|which) (?:date|day)\b")),
    ("time", re.compile(r"^(?:\w+ )?time\b|\b(?:what|which) time\b")),
    ("name", re.compile(r"^(?:full |first |last |family )?name\b|\b(?:what|which|your) name\b")),
)
_QUESTIONS = {
    "date": "What date would you like?",
    "day": "What day would suit you?",
    "time": "What time would suit you?",
    "party size": "How many people will you be?",
    "number of guests": "How many guests will there be?",
    "name": "What name may I note?",
    "email address": "What is your email address?",
}
_DETERMINER = re.compile(r"(the|an?|your|my|any)\s+", re.I)
_TRAILING = re.compile(r"\s+(?:one (?:after|at|by)\b.*|in turn|first|again|politely|too)$", re.I)

_PERSONS = re.compile(
    r"\bthe (?:caller|customer|person|user|visitor|client)(?P<owner>'s)|"
    r"\bthe (?:caller|customer|person|user|visitor|client)(?: (?P<verb>\w+s)\b)?|"
    r"\b(?P<word>they|them|their|you|your|themselves)\b",
    re.I,
)
_SECOND = {"they": "you", "them": "you", "their": "your", "you": "I", "your": "my", "themselves": "yourself"}
_VERBS = {"has": "have", "is": "are", "does": "do", "was": "were"}


def in_second_person(text: str) -> str:
    """A phrase about the user in the second person: "what the caller wants" becomes "what you want"."""

    def turned(match: re.Match[str]) -> str:
        if match["owner"]:
            return "your"
        if match["word"]:
            return _SECOND[match["word"].lower()]
        verb = match["verb"]
        return f"you {_VERBS.get(verb, verb[:-1])}" if verb else "you"

    return _PERSONS.sub(turned, text)


@lru_cache(maxsize=2048)
def kind_of(label: str) -> DetailKind:
    """The kind of detail that a label or question asks for, by default `free`."""
    read = label.lower()
    return next((kind for kind, pattern in _KINDS if pattern.search(read)), "free")


def slot_for(phrase: str, taken: Sequence[DetailKind] = ()) -> Slot:
    """The slot for a phrase of a prompt, such as "the date" or "what they use today".

    If the kind is `taken` by another slot of the prompt, the slot is free and distinguished by its label.
    """
    return _slot(in_second_person(_TRAILING.sub("", phrase.strip(" .:\"'"))), taken)


def _slot(phrase: str, taken: Sequence[DetailKind]) -> Slot:
    determiner = _DETERMINER.match(phrase)
    label = phrase[determiner.end() :] if determiner else phrase
    label = label if re.match(r"I\b", label) else label[:1].lower() + label[1:]
    kind = kind_of(label)
    article = "" if not determiner or determiner[1].lower() == "any" else f"{determiner[1].lower()} "
    question = _QUESTIONS.get(label.lower(), f"Could you tell me {article}{label}?")
    return Slot("free" if kind in taken else kind, label, question)


@lru_cache(maxsize=2048)
def last_question(text: str) -> tuple[str, Slot | None]:
    """The last question in a message, and the slot that it asks for; an empty string and None without one."""
    end = text.rfind("?")
    if end < 0:
        return "", None
    start = max(text.rfind(mark, 0, end) for mark in (". ", "! ", "? ", "] ", ": ", "; ", "\n"))
    question = text[start + 1 : end + 1].strip()
    if match := re.fullmatch(r"Could you tell me (.+)\?", question):
        return question, _slot(match[1], ())
    if re.match(r"(?:would|is|are|did|do|does|shall|should|may i (?!have|take|note)|how can)\b", question, re.I):
        return question, None
    kind = kind_of(question.rstrip("?"))
    return question, None if kind == "free" else Slot(kind, kind, question)


@lru_cache(maxsize=512)
def parse_node_prompt(instructions: str, offers: tuple[Offer, ...]) -> NodePrompt:
    """Parse the instructions of a node and its transitions."""
    text = instructions[-MAX_PROMPT_CHARACTERS:].replace("\u2019", "'")
    transitions = tuple(PromptTransition(offer, tuple(_conditions(offer.when))) for offer in offers)
    items: list[PromptItem] = []
    facts: list[str] = []
    for sentence in _sentences(text):
        if _CONDITIONAL.match(sentence):
            continue
        found = list(_items(sentence, transitions, [item.slot.kind for item in items if item.slot]))
        items.extend(item for item in found if item not in items)
        if not found and _FACT.match(sentence) and not _ABOUT_THE_CALL.search(sentence):
            facts.append(sentence)
    persona = _PERSONA.search(text)
    own_prompt = text.rstrip().rsplit("\n\n", 1)[-1]
    return NodePrompt(
        persona=persona[1] if persona else None,
        items=tuple(items),
        facts=tuple(facts),
        transitions=transitions,
        says_goodbye=bool(_GOODBYE.search(own_prompt)),
        answers=bool(re.search(r"\banswers?\b", own_prompt, re.I)),
    )


def _sentences(text: str) -> Iterator[str]:
    listing = re.sub(r":\s*\n\s*[-*•]\s+", ": ", text)
    while (joined := re.sub(r"(:[^\n]*)\n\s*[-*•]\s+", r"\1, ", listing)) != listing:
        listing = joined
    for block in _SENTENCE_END.split(re.sub(r"\n\s*[-*•]\s+", "\n\n", listing)):
        if sentence := " ".join(block.split()):
            yield sentence


def _items(
    sentence: str, transitions: tuple[PromptTransition, ...], taken: Sequence[DetailKind]
) -> Iterator[PromptItem]:
    """The items of one sentence, in its order."""
    found: list[tuple[int, PromptItem]] = []
    if match := _APOLOGISE.search(sentence):
        cause = in_second_person(_clause(sentence[match.end() :])) or "that"
        found.append((match.start(), PromptItem("say", f"I am sorry about {cause}.")))
    if match := _SUM_UP.search(sentence):
        found.append((match.start(), PromptItem("sum_up", _named_details(sentence[match.start() :]))))
    if (match := _TELL.search(sentence)) and (rest := _clause(sentence[match.end() :])):
        found.append((match.start(), PromptItem("say", _as_sentence(in_second_person(rest)))))
    if (match := _SUGGEST.search(sentence)) and (rest := _clause(sentence[match.end() :])):
        found.append((match.start(), PromptItem("say", f"I suggest {in_second_person(rest)}.")))
    if match := _ASK.search(sentence):
        asked = _asked(sentence[match.end() :], transitions, taken)
        found.extend((match.start() + offset, item) for offset, item in enumerate(asked))
    yield from (item for _, item in sorted(found, key=lambda each: each[0]))


def _named_details(sentence: str) -> str:
    """The keys of the details that a summary must contain; empty for all."""
    phrases = re.split(r",| and | with |\bread |\brepeat ", _clause(sentence), flags=re.I)
    kinds = (slot_for(phrase).kind for phrase in phrases)
    return " ".join(dict.fromkeys(kind for kind in kinds if kind != "free"))


def _clause(text: str) -> str:
    return _NEXT_CLAUSE.sub("", text).strip(" .")


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _asked(text: str, transitions: tuple[PromptTransition, ...], taken: Sequence[DetailKind]) -> Iterator[PromptItem]:
    text = re.sub(r"\([^)]*\)", "", _clause(text))
    kinds = list(taken)
    if re.match(r"(?:what|how|why|whether|if) [^,]*,", text) and kind_of(text) == "free" and _routes(text, transitions):
        text = text.split(",")[0]
    for phrase in _ITEM_SPLIT.split(text.split(":")[0] if _routes(text, transitions) else text.replace(": ", " ")):
        if not phrase or _NOT_ASKED.match(phrase):
            continue
        if _routes(phrase, transitions):
            yield PromptItem("route", _routing_question(phrase))
        else:
            slot = slot_for(phrase, kinds)
            kinds.append(slot.kind) if slot.kind != "free" else None
            yield PromptItem("ask", slot.question, slot)


def _routes(phrase: str, transitions: tuple[PromptTransition, ...]) -> bool:
    """True if the answer to this phrase chooses a transition and is not a detail to note."""
    read = phrase.lower()
    if re.match(r"what (?:(?:the )?\w+ (?:wants?|needs?)|the (?:problem|call) is about|brings|(?:you|I) can)\b", read):
        return True
    if not re.match(r"(?:whether|if)\b", read):
        return False
    asked = {word for word, _ in words_of(phrase)}
    return any(word in asked for transition in transitions for case in transition.conditions for word, _ in case.words)


def _routing_question(phrase: str) -> str:
    turned = in_second_person(phrase.strip(" ."))
    clause = re.sub(r"^(?:whether|if)\s+", "", turned, flags=re.I)
    for pattern, question in (
        (r"what (?:you|the problem|the call)\b.*", GENERAL_QUESTIONS[0]),
        (r".*\banything else\b.*", GENERAL_QUESTIONS[1]),
        (r"(?:everything|it|that|this|all) is (right|correct)", r"Is everything \1?"),
        (r"you would like (?:to )?(.+)", None),
        (r"(?:this|that|it|now) is (.+)", r"Is this \1?"),
        (r"(?:that|it|this) (?:solved|fixed) (.+)", r"Did that solve \1?"),
        (r"(I (?:may|should|can)) (.+)", None),
    ):
        if match := re.fullmatch(pattern, clause, re.I):
            if question is not None:
                return match.expand(question)
            if match[1].startswith("I "):
                return f"{match[1].split()[1].capitalize()} I {match[2]}?"
            return f"Would {clause.replace('would ', '', 1)}?"
    return f"May I ask {turned if turned != clause else 'whether ' + clause}?"


GENERAL_QUESTIONS = ("What can I do for you?", "Is there anything else I can do for you?")
"""Questions for the user's request in general."""

_COMPLETE = re.compile(r"\b(?:known|collected|gathered|complete|answered|provided|found out|has all|have all)\b", re.I)
_MORE = re.compile(
    r"\b(?:more than|over|larger than|bigger than|above)\s+(\w+)|\b(\w+) or more\b|\bat least (\w+)", re.I
)
_FEWER = re.compile(
    r"\b(?:fewer than|less than|under|smaller than|below)\s+(\w+)|\b(\w+) or (?:fewer|less)\b|\bat most (\w+)",
    re.I,
)
_ROLES = re.compile(r"\bthe (?:caller|customer|person|user|visitor|client|prospect|lead)\b(?:'s)?", re.I)
_NUMBERS = {word: value for value, word in enumerate(NUMBERS.split())}


def number_in(text: str) -> int | None:
    """The first number in a text, in digits or spelled up to twenty."""
    for word in re.findall(r"[a-z]+|\d{1,9}", text.lower()):
        if word.isdigit():
            return int(word)
        if word in _NUMBERS:
            return _NUMBERS[word]
    return None


def _conditions(when: str) -> Iterator[Condition]:
    if _COMPLETE.search(when):
        yield Condition(complete=True)
        return
    negated = False
    for case in re.split(r",? or (?!more\b|fewer\b|less\b)|; ", _ROLES.sub(" ", when)):
        # "does not want the link or the trial": the negation applies to both parts.
        carried = negated and re.match(r"(?:the|an?|any|to)\b", case.strip())
        negated = bool(re.search(r"\bnot\b", case)) or bool(carried)
        if compared := _comparison(case):
            yield compared
        elif words := words_of(f"{'not ' if carried else ''}{case.replace(',', ' ')}"):
            yield Condition(words=words)


def _comparison(case: str) -> Condition | None:
    for direction, pattern in (("more", _MORE), ("fewer", _FEWER)):
        match = pattern.search(case)
        if match and (bound := number_in(match.group(0))) is not None:
            inclusive = match[1] is None
            if direction == "more":
                return Condition(compare="more", bound=bound - 1 if inclusive else bound)
            return Condition(compare="fewer", bound=bound + 1 if inclusive else bound)
    return None


_NOT_AN_OPTION = re.compile(r"\b(?:nothing|goodbye|upset|angry|solved|wrong|right|agrees|confirms|no longer)\b", re.I)


def transition_as_option(transition: PromptTransition) -> str | None:
    """A transition as an option for the user, such as "you want to book a table"; None if it is not a request."""
    if any(case.complete or case.compare for case in transition.conditions) or _NOT_AN_OPTION.search(
        transition.offer.when
    ):
        return None
    return re.sub(
        r"\b(or|and) (wants|asks|needs|says|plans|has|comes)\b",
        lambda match: f"{match[1]} {_VERBS.get(match[2], match[2][:-1])}",
        in_second_person(transition.offer.when),
    )
