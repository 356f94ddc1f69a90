"""How the offline demo model plays a caller: (its part, what was said) -> its next line, or that it hangs up. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from domain.sessions.caller_prompt import CALLER_ROLE, FACTS_HEADING, GOAL_HEADING, MANNER_LABEL
from playhead.demo_model.goals import Goal, wishes_in
from playhead.demo_model.language import details_in, plain, says_no, says_yes, words_of
from playhead.demo_model.prompt_parser import Slot, asked_in, kind_of
from playhead.demo_model.slot_filling import Line

OPENERS = ("Hello.", "Hi.", "Good day.", "Hello, good day.")
FAREWELLS = (
    "No, that is all. Thank you, goodbye.",
    "Nothing else, thank you. Goodbye.",
    "No thanks, that was everything. Goodbye.",
)
UNKNOWN = ("I do not know that, sorry.", "I am sorry, I do not know.", "I can't say, I am afraid.")
AGREED = ("Yes, that's right.", "Yes, please.", "Yes, exactly.")
DECLINED = ("No, thank you.", "No thanks.")
TOPICS = (
    "are you open at the weekend",
    "where can I park",
    "do I get that in writing",
    "can I change it later",
    "what does it cost",
    "how long does it take",
    "is there anything new",
)
"""What a caller that has what it wants, and may not hang up yet, goes on asking."""

_TOLD: Mapping[str, tuple[str, ...]] = {
    "name": ("{}.", "My name is {}.", "It's {}."),
    "date": ("{}, please.", "On {}.", "{} would be good."),
    "time": ("At {}.", "At {}, please."),
    "count": ("{}.", "We will be {}.", "{}, please."),
}
_TOLD_PLAINLY = ("{}.", "It is {}.")
_NEAR_DAY = re.compile(r"^(?:today|tonight|tomorrow|yesterday|next|this|last|the|in|on)\b", re.I)
_GENERAL = re.compile(
    r"\b(?:help you|do for you|anything else|what else|is the problem|brings you|which is it|can i help|can help if)\b"
)
_CHANGE = re.compile(r"\bwhat (?:should|shall|can|would) (?:i|you like me to) change\b|\bwhat is wrong\?")
_OFFER = re.compile(r"^(?:would you (?:like|rather|prefer)|do you (?:want|need)|are you interested)\b")
_CONFIRM = re.compile(r"^(?:is|are) (?:everything|it|that|this|all) (?:right|correct|fine)\b|\breally\b")
_LOST = re.compile(r"\bdid not understand\b|\bdid not hear\b")
_GOODBYE = re.compile(r"\b(?:goodbye|bye)\b", re.I)
_FURTHER = re.compile(r"^Another question, number (\d+):")
_TERSE = re.compile(r"\b(?:brief|short|terse|impatient|hurry|busy|curt|rushed)\b", re.I)
_HESITANT = re.compile(r"\b(?:unsure|hesitant|confused|nervous|shy|elderly)\b", re.I)


@dataclass(frozen=True)
class Part:
    """A caller's instructions, read."""

    manner: str
    wishes: tuple[Goal, ...]
    facts: Mapping[str, str]


def read_part(instructions: str) -> Part | None:
    """The part that the instructions describe; None when they describe none."""
    if not instructions.startswith(CALLER_ROLE):
        return None
    sections = {block.split("\n", 1)[0]: block for block in instructions.split("\n\n")}
    facts = (line.removeprefix("- ").partition(": ") for line in sections.get(FACTS_HEADING, "").splitlines()[1:])
    manner = re.search(rf"^{re.escape(MANNER_LABEL)}(.*)$", instructions, re.M)
    # A goal may have paragraphs of its own: it ends where the next section begins.
    goal = (
        instructions.partition(f"{GOAL_HEADING}\n")[2]
        .partition(f"\n\n{FACTS_HEADING}")[0]
        .partition("\n\nSay one thing")[0]
    )
    return Part(
        manner=manner[1] if manner else "",
        wishes=wishes_in(goal),
        facts={name.strip(): value.strip() for name, _, value in facts if value},
    )


def next_line(part: Part, lines: Sequence[Line], *, may_hang_up: bool, seed: int) -> str | None:
    """What the caller says next; None when it hangs up. The same arguments always give the same line."""
    return _Caller(part, lines, may_hang_up=may_hang_up, seed=seed).next_line()


def _is_decision(value: str) -> bool:
    """Whether a fact is a yes or a no, which answers a question that asks for one."""
    return says_yes(value) or says_no(value)


def _likeness(question: str, name: str) -> float:
    """How much a question asks for the fact of a name: by words that mean something, else by two of any kind."""
    meant = len({word for word, _ in words_of(question)} & {word for word, _ in words_of(name)})
    return meant + len(set(plain(question).strip("?").split()) & set(plain(name).split())) / 2


class _Caller:
    def __init__(self, part: Part, lines: Sequence[Line], *, may_hang_up: bool, seed: int) -> None:
        self._part = part
        self._own = [line.text for line in lines if line.own]
        self._heard = next((line.text for line in reversed(lines) if not line.own), "")
        self._may_hang_up = may_hang_up
        self._seed = seed
        said = [plain(line) for line in self._own]
        self._open = [wish for wish in part.wishes if not any(plain(wish.spoken) in line for line in said)]

    def next_line(self) -> str | None:
        if self._own and _GOODBYE.search(self._own[-1]):
            return None if self._may_hang_up else self._further()
        if not self._own:
            return f"{self._pick(OPENERS)} {self._first_words()}"
        question, slot = asked_in(self._heard)
        if _LOST.search(plain(self._heard)):
            return self._again(question, slot)
        answer = self._answer(question, slot) if question else self._go_on()
        return f"Um, {answer[0].lower()}{answer[1:]}" if self._is_hesitant(answer) else answer

    def _first_words(self) -> str:
        """The first wish; or an answer, where the agent has opened with a question of its own."""
        question, slot = asked_in(self._heard)
        if question and not _GENERAL.search(plain(question)) and (answer := self._known(question, slot)):
            return answer
        return self._wish() or "I have a question."

    def _answer(self, question: str, slot: Slot | None) -> str:
        read = plain(question)
        if _GENERAL.search(read):
            return self._wish() or self._farewell()
        if _CHANGE.search(read):
            return self._correction() or "Nothing, it is fine as it is. Yes, that's right."
        known = self._known(question, slot)
        if _CONFIRM.search(read):
            return self._change_of_mind() or self._correction() or known or self._pick(AGREED)
        return known or self._unprepared(question, slot)

    def _unprepared(self, question: str, slot: Slot | None) -> str:
        """The answer to a question on which the caller has no fact."""
        if slot is not None:
            return self._pick(UNKNOWN)
        if _OFFER.search(plain(question)):
            return self._wish_like(question) or self._pick(DECLINED)
        return self._wish() or self._pick(AGREED)

    def _go_on(self) -> str:
        """After words that ask nothing: the next wish, or thanks and goodbye."""
        return self._wish() or self._farewell()

    def _again(self, question: str, slot: Slot | None) -> str:
        """The answer in the plainest words, or once more what the caller wants."""
        if known := self._known(question, slot):
            return known
        said = [wish for wish in self._part.wishes if wish not in self._open]
        wish = said[-1] if said else next(iter(self._open), None)
        return f"Let me say it again: {wish.spoken}" if wish is not None else self._farewell()

    def _wish(self) -> str:
        return self._open[0].spoken if self._open else ""

    def _wish_like(self, question: str) -> str:
        """A wish that the agent offers to fulfil: taken up, or agreed to when it was the last thing that was said."""
        asked = {word for word, _ in words_of(question)}
        for wish in self._open:
            if asked & {word for word, _ in words_of(wish.spoken)}:
                return f"Yes, please. {wish.spoken}"
        just_said = {word for line in self._own[-2:] for word, _ in words_of(line)}
        return self._pick(AGREED) if asked & just_said else ""

    def _change_of_mind(self) -> str:
        """A wish to change something, for which the moment has come once the details are read back."""
        return next((wish.spoken for wish in self._open if wish.changes), "")

    def _correction(self) -> str:
        """What the agent has noted wrongly, put right."""
        noted = details_in(self._heard)
        changed = {kind_of(wish.changes) for wish in self._part.wishes if wish.changes}
        for name, value in self._part.facts.items():
            kind = kind_of(name)
            told = details_in(value).get(kind)
            if kind != "free" and kind not in changed and told and kind in noted and plain(noted[kind]) != plain(told):
                return f"No, that is wrong: the {name} is {value}."
        return ""

    def _known(self, question: str, slot: Slot | None) -> str:
        """The fact that was asked for, told; nothing when the caller does not know it."""
        kind = slot.kind if slot is not None else "free"
        scored = [
            (2.0 * (kind != "free" and kind_of(name) == kind) + _likeness(question, name), name)
            for name, value in self._part.facts.items()
            if (kind == "free" and slot is not None) or _is_decision(value) == (slot is None)
        ]
        best, name = max(scored, key=lambda each: each[0], default=(0.0, ""))
        return self._told(name, self._part.facts[name]) if best >= 1 else ""

    def _told(self, name: str, value: str) -> str:
        kind = kind_of(name)
        if _is_decision(value) or kind == "free":
            return f"{value[:1].upper()}{value[1:]}."
        if _TERSE.search(self._part.manner):
            return f"{value}."
        if kind == "count" and not re.search(r"[a-z]", value, re.I):
            value = f"{value} people"
        if kind == "date" and _NEAR_DAY.match(value):
            return f"{value[:1].upper()}{value[1:]}, please."
        return self._pick(_TOLD.get(kind, _TOLD_PLAINLY)).format(value)

    def _farewell(self) -> str:
        return self._pick(FAREWELLS) if self._may_hang_up else self._further()

    def _further(self) -> str:
        """Something new, for a caller that has what it wants and may not go yet."""
        numbers = [int(found[1]) for line in self._own if (found := _FURTHER.match(line))]
        number = max(numbers, default=0) + 1
        return f"Another question, number {number}: {TOPICS[(number + self._seed) % len(TOPICS)]}?"

    def _is_hesitant(self, answer: str) -> bool:
        return bool(_HESITANT.search(self._part.manner)) and self._number(2) == 0 and answer[:1].isalpha()

    def _pick(self, options: Sequence[str]) -> str:
        return options[self._number(len(options))]

    def _number(self, below: int) -> int:
        """A number that depends on the seed and on how much was said, and on nothing else."""
        digest = sha256(f"{self._seed}\n{len(self._own)}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below
