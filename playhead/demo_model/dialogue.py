"""The demo model as an agent: (conversation, node prompt) -> reply or transition. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from playhead.demo_model.language import (
    MAX_MESSAGE_CHARACTERS,
    Word,
    is_correction,
    is_question,
    is_small_talk,
    meaning_of,
    normalized,
    says_no,
    says_yes,
    words_of,
)
from playhead.demo_model.prompt_parser import (
    GENERAL_QUESTIONS,
    Condition,
    NodePrompt,
    Offer,
    PromptTransition,
    Slot,
    last_question,
    number_in,
    parse_node_prompt,
    transition_as_option,
)
from playhead.demo_model.slot_filling import Line, Memory, collect_details, people_count

MAX_TRANSITIONS_PER_MESSAGE = 4
"""Upper bound on the transitions after one message, so that nodes that point at each other do not loop."""


@dataclass(frozen=True)
class Conversation:
    """The end of a conversation.

    `entered_at` is the index of the first message in the current node, `transitions_taken` counts the transitions since
    the last message of the user.
    """

    lines: tuple[Line, ...] = ()
    entered_at: int = 0
    transitions_taken: int = 0

    @property
    def last_message(self) -> str | None:
        """The user's last message; None before the first."""
        return next((line.text for line in reversed(self.lines) if not line.by_model), None)

    @property
    def in_node(self) -> tuple[Line, ...]:
        return self.lines[self.entered_at :]


@dataclass(frozen=True)
class DemoReply:
    """The model's action: a transition (`tool`) or a reply (`text`); the other is None."""

    text: str | None = None
    tool: str | None = None


def answer(instructions: str, offers: tuple[Offer, ...], conversation: Conversation) -> DemoReply:
    """Decide the next action. The result depends on the arguments only."""
    prompt = parse_node_prompt(instructions, offers)
    memory = collect_details(conversation.lines, prompt.slots)
    if not prompt.transitions and (prompt.says_goodbye or conversation.transitions_taken):
        return DemoReply(text=_farewell(prompt, memory))
    message = conversation.last_message
    if message is None:
        return DemoReply(text=_opening(prompt))
    if transition := _choose_transition(prompt, conversation, memory, message):
        return DemoReply(tool=transition.offer.tool)
    return DemoReply(text=_reply(prompt, conversation, memory, message))


# --- transitions ---


def _choose_transition(
    prompt: NodePrompt, conversation: Conversation, memory: Memory, message: str
) -> PromptTransition | None:
    if conversation.transitions_taken >= MAX_TRANSITIONS_PER_MESSAGE:
        return None
    if transition := _by_number(prompt, memory):
        return transition
    arriving = conversation.transitions_taken > 0
    if not arriving and (transition := _by_words(prompt, conversation, memory, message)):
        return transition
    return _by_completeness(prompt, conversation, memory, message)


def _by_number(prompt: NodePrompt, memory: Memory) -> PromptTransition | None:
    count = number_in(memory.details.get("count", ""))
    if count is None:
        return None
    for transition in prompt.transitions:
        for case in transition.conditions:
            if (case.compare == "more" and count > case.bound) or (case.compare == "fewer" and count < case.bound):
                return transition
    return None


def _by_words(prompt: NodePrompt, conversation: Conversation, memory: Memory, message: str) -> PromptTransition | None:
    """The transition whose condition matches the message best. Words in several transitions count for less."""
    question, asked = _last_question(conversation)
    said = meaning_of(message, "" if asked else question)
    shared = Counter(
        word
        for transition in prompt.transitions
        for word in {word for case in transition.conditions for word in case.words}
    )
    least = 0.99 if prompt.slots and memory.new else 0.45
    for words in (said, said | {("interest", True)} if says_no(message) and not asked else said):
        scored = [
            (_score(case, words, words_of(message), shared, least), -position)
            for position, transition in enumerate(prompt.transitions)
            for case in transition.conditions
        ]
        best, position = max(scored, default=(0.0, 0))
        if best > 0:
            return prompt.transitions[-position]
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
    # Words that are only in the answered question count for less than those in the message.
    score = sum((1 if word in own_words else 0.6) / shared[word] for word in matched) - len(against)
    coverage = len(matched) / len(case.words)
    if score < least and not (coverage == 1 and score > 0):
        return 0.0
    return score + coverage / 10


def _by_completeness(
    prompt: NodePrompt, conversation: Conversation, memory: Memory, message: str
) -> PromptTransition | None:
    if _missing(prompt, memory) is not None:
        return None
    arriving = conversation.transitions_taken > 0
    if arriving and (_wants_a_change(message, memory) or not prompt.slots):
        return None
    complete = next(
        (transition for transition in prompt.transitions if any(case.complete for case in transition.conditions)), None
    )
    if complete is not None and (prompt.slots or not is_question(message)):
        return complete
    if len(prompt.transitions) == 1 and not any(case.compare for case in prompt.transitions[0].conditions):
        messages_here = sum(not line.by_model for line in conversation.in_node)
        if prompt.slots or messages_here > 1:
            return prompt.transitions[0]
    agreed = not arriving and says_yes(message) and prompt.slots
    return prompt.transitions[0] if agreed and prompt.transitions else None


def _missing(prompt: NodePrompt, memory: Memory) -> Slot | None:
    return next((slot for slot in prompt.slots if slot.key not in memory.details), None)


def _last_question(conversation: Conversation) -> tuple[str, Slot | None]:
    for line in reversed(conversation.lines):
        if line.by_model:
            return last_question(line.text)
    return "", None


# --- replies ---


def _opening(prompt: NodePrompt) -> str:
    hello = f"Hello, this is {prompt.persona}." if prompt.persona else "Hello."
    says, question = _agenda(prompt, Memory(), ())
    return " ".join([hello, *says, question or "How can I help you?"])


def _farewell(prompt: NodePrompt, memory: Memory) -> str:
    name = memory.details.get("name")
    parts = [f"Thank you, {name}." if name else "Thank you."]
    parts += [item.text for item in prompt.items if item.act == "say"]
    if any(item.act == "sum_up" for item in prompt.items) and memory.details:
        parts.append(f"I have noted: {_summary(memory)}.")
    parts.append(f"Goodbye from {prompt.persona}!" if prompt.persona else "Goodbye!")
    return " ".join(parts)


def _reply(prompt: NodePrompt, conversation: Conversation, memory: Memory, message: str) -> str:
    arriving = conversation.transitions_taken > 0
    spoken = tuple(line.text for line in conversation.in_node if line.by_model)
    says, question = _agenda(prompt, memory, spoken)
    if arriving and _wants_a_change(message, memory) and prompt.slots and _missing(prompt, memory) is None:
        return "Of course. What should I change?"
    summing_up = any(text.startswith(_REPEAT) for text in says) and not memory.replaced
    parts = [] if summing_up or (arriving and not memory.new) else _acknowledged(prompt, memory, message)
    if remark := _remark(prompt, message, arriving=arriving):
        parts.append(remark)
    if parts or says or arriving or not spoken:
        return " ".join([*parts, *says, question or "What else can I do for you?"])
    understood = says_yes(message) and not prompt.slots
    options = _options(prompt) if question in GENERAL_QUESTIONS else ""
    opening = "Of course." if understood else _not_understood(spoken, message)
    return f"{opening} {options or question or 'What can I do for you?'}"


def _wants_a_change(message: str, memory: Memory) -> bool:
    """True if the user objects without saying yet what to change."""
    return (says_no(message) or is_correction(message)) and not memory.new


def _agenda(prompt: NodePrompt, memory: Memory, spoken: Sequence[str]) -> tuple[list[str], str]:
    """Sentences to say and the question to ask, in the prompt's order, up to the first open question."""
    says: list[str] = []
    for item in prompt.items:
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
    if prompt.slots and memory.details and not any(item.act == "sum_up" for item in prompt.items):
        return [*says, f"So I have noted: {_summary(memory)}."], "Is everything right?"
    return says, ""


_REPEAT = "Let me repeat: "
_THANKS = ("Thank you", "Got it", "Noted")


def _acknowledged(prompt: NodePrompt, memory: Memory, message: str) -> list[str]:
    """Acknowledge the details of the last message, so that a mistake is noticed at once."""
    read = normalized(message)
    if is_small_talk(message) and not memory.new:
        return ["You are welcome."] if "thank" in read else ["Hello!"]
    parts = (
        ["Thank you for the detail; I have read the beginning of it."] if len(message) > MAX_MESSAGE_CHARACTERS else []
    )
    if memory.replaced:
        changes = {key: memory.new[key] for key in memory.new if key in memory.replaced}
        return [*parts, f"I have changed that: {_listed(changes, labels=False)}."]
    if memory.withdrawn:
        return [*parts, "Of course, we can change that."]
    if memory.new:
        thanks = _THANKS[len(memory.details) % len(_THANKS)]
        return [*parts, f"{thanks}: {_listed(memory.new, labels=False)}."]
    return parts


_WHO = re.compile(
    r"\bwho (?:are you|am i|is (?:this|speaking|calling))\b|\bwhat are you\b|\bwhat's your name\b|"
    r"\b(?:are you|is this|(?:talking|speaking) (?:to|with)) (?:an? |the )?(?:real |live )?"
    r"(?:robot|bot|ai|human|person|machine|real|computer)\b"
)


def _remark(prompt: NodePrompt, message: str, *, arriving: bool) -> str:
    """The answer to a question outside the prompt's own: about the agent, or about a fact of the prompt."""
    read = normalized(message)
    if _WHO.search(read):
        who = f"This is {prompt.persona}; I am" if prompt.persona else "I am"
        return f"{who} an offline demo model with a script, not a person."
    asked = {word for word, _ in words_of(message)}
    scored = [(len(asked & {word for word, _ in words_of(fact)}), fact) for fact in prompt.facts]
    best = max((score for score, _ in scored), default=0)
    curious = is_question(message) or (prompt.answers and not says_yes(message) and not says_no(message))
    if best and curious:
        return " ".join([fact for score, fact in scored if score == best][:2])
    if is_question(message) and re.search(r"[a-z]", read) and (prompt.answers or not arriving):
        return "I do not have that information here."
    return ""


def _not_understood(spoken: Sequence[str], message: str) -> str:
    if not normalized(message).strip(" .!?-"):
        return "I did not hear anything."
    if any("I did not understand" in text for text in spoken):
        return "I am sorry, I did not understand that either; a short, simple sentence helps me."
    return "I am sorry, I did not understand that."


def _options(prompt: NodePrompt) -> str:
    wishes = [option for transition in prompt.transitions if (option := transition_as_option(transition))]
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
        said.append(people_count(value) if key == "count" and value.isdigit() else value)
    return ", ".join(said) or "nothing yet"
