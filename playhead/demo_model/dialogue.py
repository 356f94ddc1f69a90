"""What the offline demo model answers: (conversation, script) -> a sentence or a way on. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from playhead.demo_model.language import (
    MAX_READ,
    Word,
    is_correction,
    is_question,
    is_small_talk,
    plain,
    says_no,
    says_yes,
    signals,
    words_of,
)
from playhead.demo_model.prompt_parser import (
    GENERAL_QUESTIONS,
    Condition,
    NodePrompt,
    Offer,
    PromptTransition,
    Slot,
    asked_in,
    number_in,
    read_script,
    way_as_option,
)
from playhead.demo_model.slot_filling import Line, Memory, people, recall

MAX_MOVES_IN_A_ROW = 4
"""Ways on taken after one message before the model speaks: nodes that point at each other do not spin."""


@dataclass(frozen=True)
class Conversation:
    """The tail of a conversation: its lines, where the node was entered, and the moves since the last message."""

    lines: tuple[Line, ...] = ()
    entered_at: int = 0
    moves: int = 0

    @property
    def heard(self) -> str | None:
        """The person's last words; None when they have not spoken yet."""
        return next((line.text for line in reversed(self.lines) if not line.own), None)

    @property
    def in_node(self) -> tuple[Line, ...]:
        return self.lines[self.entered_at :]


@dataclass(frozen=True)
class DemoReply:
    """What the model does: take a way on (`tool`) or say something (`text`); the other is None."""

    text: str | None = None
    tool: str | None = None


def answer(instructions: str, offers: tuple[Offer, ...], conversation: Conversation) -> DemoReply:
    """Decide what to do next. The same arguments always give the same answer."""
    script = read_script(instructions, offers)
    memory = recall(conversation.lines, script.slots)
    if not script.ways and (script.says_goodbye or conversation.moves):
        return DemoReply(text=_farewell(script, memory))
    heard = conversation.heard
    if heard is None:
        return DemoReply(text=_opening(script))
    if way := _way_on(script, conversation, memory, heard):
        return DemoReply(tool=way.offer.tool)
    return DemoReply(text=_reply(script, conversation, memory, heard))


# --- the way on ---


def _way_on(script: NodePrompt, conversation: Conversation, memory: Memory, heard: str) -> PromptTransition | None:
    if conversation.moves >= MAX_MOVES_IN_A_ROW:
        return None
    if way := _by_number(script, memory):
        return way
    arriving = conversation.moves > 0
    if not arriving and (way := _by_words(script, conversation, memory, heard)):
        return way
    return _by_completeness(script, conversation, memory, heard)


def _by_number(script: NodePrompt, memory: Memory) -> PromptTransition | None:
    count = number_in(memory.details.get("count", ""))
    if count is None:
        return None
    for way in script.ways:
        for case in way.conditions:
            if (case.compare == "more" and count > case.bound) or (case.compare == "fewer" and count < case.bound):
                return way
    return None


def _by_words(script: NodePrompt, conversation: Conversation, memory: Memory, heard: str) -> PromptTransition | None:
    """The way whose condition the message speaks of most; words that many ways share count for less."""
    question, asked = _last_question(conversation)
    said = signals(heard, "" if asked else question)
    shared = Counter(word for way in script.ways for word in {word for case in way.conditions for word in case.words})
    least = 0.99 if script.slots and memory.fresh else 0.45
    for heard_as in (said, said | {("interest", True)} if says_no(heard) and not asked else said):
        scored = [
            (_score(case, heard_as, words_of(heard), shared, least), -position)
            for position, way in enumerate(script.ways)
            for case in way.conditions
        ]
        best, position = max(scored, default=(0.0, 0))
        if best > 0:
            return script.ways[-position]
    return None


def _score(
    case: Condition,
    said: frozenset[Word],
    own_words: frozenset[Word],
    shared: Counter[Word],
    least: float,
) -> float:
    if not case.words:
        return 0.0
    matched = case.words & said
    against = [word for word in case.words - matched if (word[0], not word[1]) in own_words]
    # Words that only the answered question holds count for less than the person's own.
    score = sum((1 if word in own_words else 0.6) / shared[word] for word in matched) - len(against)
    coverage = len(matched) / len(case.words)
    if score < least and not (coverage == 1 and score > 0):
        return 0.0
    return score + coverage / 10


def _by_completeness(
    script: NodePrompt, conversation: Conversation, memory: Memory, heard: str
) -> PromptTransition | None:
    if _missing(script, memory) is not None:
        return None
    arriving = conversation.moves > 0
    if arriving and (_wants_a_change(heard, memory) or not script.slots):
        return None
    complete = next((way for way in script.ways if any(case.complete for case in way.conditions)), None)
    if complete is not None and (script.slots or not is_question(heard)):
        return complete
    if len(script.ways) == 1 and not any(case.compare for case in script.ways[0].conditions):
        heard_here = sum(not line.own for line in conversation.in_node)
        if script.slots or heard_here > 1:
            return script.ways[0]
    agreed = not arriving and says_yes(heard) and script.slots
    return script.ways[0] if agreed and script.ways else None


def _missing(script: NodePrompt, memory: Memory) -> Slot | None:
    return next((slot for slot in script.slots if slot.key not in memory.details), None)


def _last_question(conversation: Conversation) -> tuple[str, Slot | None]:
    for line in reversed(conversation.lines):
        if line.own:
            return asked_in(line.text)
    return "", None


# --- speech ---


def _opening(script: NodePrompt) -> str:
    hello = f"Hello, this is {script.persona}." if script.persona else "Hello."
    says, question = _agenda(script, Memory(), ())
    return " ".join([hello, *says, question or "How can I help you?"])


def _farewell(script: NodePrompt, memory: Memory) -> str:
    name = memory.details.get("name")
    parts = [f"Thank you, {name}." if name else "Thank you."]
    parts += [item.text for item in script.items if item.act == "say"]
    if any(item.act == "sum_up" for item in script.items) and memory.details:
        parts.append(f"I have noted: {_summary(memory)}.")
    parts.append(f"Goodbye from {script.persona}!" if script.persona else "Goodbye!")
    return " ".join(parts)


def _reply(script: NodePrompt, conversation: Conversation, memory: Memory, heard: str) -> str:
    arriving = conversation.moves > 0
    spoken = tuple(line.text for line in conversation.in_node if line.own)
    says, question = _agenda(script, memory, spoken)
    if arriving and _wants_a_change(heard, memory) and script.slots and _missing(script, memory) is None:
        return "Of course. What should I change?"
    summing_up = any(text.startswith(_REPEAT) for text in says) and not memory.replaced
    parts = [] if summing_up or (arriving and not memory.fresh) else _acknowledged(script, memory, heard)
    if remark := _remark(script, heard, arriving=arriving):
        parts.append(remark)
    if parts or says or arriving or not spoken:
        return " ".join([*parts, *says, question or "What else can I do for you?"])
    understood = says_yes(heard) and not script.slots
    options = _options(script) if question in GENERAL_QUESTIONS else ""
    opening = "Of course." if understood else _not_understood(spoken, heard)
    return f"{opening} {options or question or 'What can I do for you?'}"


def _wants_a_change(heard: str, memory: Memory) -> bool:
    """Whether the person is not content but did not say yet what should be different."""
    return (says_no(heard) or is_correction(heard)) and not memory.fresh


def _agenda(script: NodePrompt, memory: Memory, spoken: Sequence[str]) -> tuple[list[str], str]:
    """What to say now and what to ask then, in the prompt's order, up to the first question still open."""
    says: list[str] = []
    for item in script.items:
        if item.act == "route":
            return says, item.text
        if item.act == "ask":
            if item.slot is not None and item.slot.key not in memory.details:
                return says, item.text
            continue
        text = item.text
        if item.act == "sum_up":
            text = f"{_REPEAT}{_summary(memory, item.text)}." if memory.details else ""
        if text and not any(text in earlier for earlier in spoken):
            says.append(text)
    if script.slots and memory.details and not any(item.act == "sum_up" for item in script.items):
        return [*says, f"So I have noted: {_summary(memory)}."], "Is everything right?"
    return says, ""


_REPEAT = "Let me repeat: "
_THANKS = ("Thank you", "Got it", "Noted")


def _acknowledged(script: NodePrompt, memory: Memory, heard: str) -> list[str]:
    """Name what was caught in the last message, so that a mistake is heard at once."""
    read = plain(heard)
    if is_small_talk(heard) and not memory.fresh:
        return ["You are welcome."] if "thank" in read else ["Hello!"]
    parts = ["Thank you for the detail; I have read the beginning of it."] if len(heard) > MAX_READ else []
    if memory.replaced:
        changes = {key: memory.fresh[key] for key in memory.fresh if key in memory.replaced}
        return [*parts, f"I have changed that: {_listed(changes, labels=False)}."]
    if memory.withdrawn:
        return [*parts, "Of course, we can change that."]
    if memory.fresh:
        thanks = _THANKS[len(memory.details) % len(_THANKS)]
        return [*parts, f"{thanks}: {_listed(memory.fresh, labels=False)}."]
    return parts


_WHO = re.compile(
    r"\bwho (?:are you|am i|is (?:this|speaking|calling))\b|\bwhat are you\b|\bwhat's your name\b|"
    r"\b(?:are you|is this|(?:talking|speaking) (?:to|with)) (?:an? |the )?(?:real |live )?"
    r"(?:robot|bot|ai|human|person|machine|real|computer)\b"
)


def _remark(script: NodePrompt, heard: str, *, arriving: bool) -> str:
    """The answer to a question beside the point: who is speaking, or a fact of the prompt about it."""
    read = plain(heard)
    if _WHO.search(read):
        who = f"This is {script.persona}; I am" if script.persona else "I am"
        return f"{who} an offline demo model with a script, not a person."
    asked = {word for word, _ in words_of(heard)}
    scored = [(len(asked & {word for word, _ in words_of(fact)}), fact) for fact in script.facts]
    best = max((score for score, _ in scored), default=0)
    curious = is_question(heard) or (script.answers and not says_yes(heard) and not says_no(heard))
    if best and curious:
        return " ".join([fact for score, fact in scored if score == best][:2])
    if is_question(heard) and re.search(r"[a-z]", read) and (script.answers or not arriving):
        return "I do not have that information here."
    return ""


def _not_understood(spoken: Sequence[str], heard: str) -> str:
    if not plain(heard).strip(" .!?-"):
        return "I did not hear anything."
    if any("I did not understand" in text for text in spoken):
        return "I am sorry, I did not understand that either; a short, simple sentence helps me."
    return "I am sorry, I did not understand that."


def _options(script: NodePrompt) -> str:
    wishes = [option for way in script.ways if (option := way_as_option(way))]
    if not wishes:
        return ""
    return f"I can help if {', or if '.join(wishes[:5])}. Which is it?"


_NAMED: dict[str, Literal["name", "email", "number", "phone"]] = {
    "name": "name",
    "email": "email",
    "reference": "number",
    "phone": "phone",
}
_ORDER = ("date", "time", "count", "name", "reference", "money", "phone", "email")


def _summary(memory: Memory, keys: str = "") -> str:
    named = {key: memory.details[key] for key in keys.split() if key in memory.details}
    return _listed(named or memory.details)


def _listed(details: dict[str, str], *, labels: bool = True) -> str:
    known = [key for key in _ORDER if key in details]
    said = []
    for key in [*known, *(key for key in details if key not in _ORDER)]:
        value = details[key]
        if key in _NAMED:
            value = f"{_NAMED[key]} {value}"
        elif key not in _ORDER:
            value = f"{key}: {value}" if labels else f"“{value}”"
        said.append(people(value) if key == "count" and value.isdigit() else value)
    return ", ".join(said) or "nothing yet"
