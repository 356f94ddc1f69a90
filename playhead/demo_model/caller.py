"""The demo model as a simulated user: (caller prompt, conversation) -> next message, or hang up. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from domain.sessions.caller_prompt import CALLER_ROLE, FACTS_HEADING, GOAL_HEADING, MANNER_LABEL
from playhead.demo_model.goals import Goal, parse_goals
from playhead.demo_model.language import details_in, normalized, says_no, says_yes, words_of
from playhead.demo_model.prompt_parser import Slot, kind_of, last_question
from playhead.demo_model.slot_filling import Line

GREETINGS = ("Hello.", "Hi.", "Good day.", "Hello, good day.")
FAREWELLS = (
    "No, that is all. Thank you, goodbye.",
    "Nothing else, thank you. Goodbye.",
    "No thanks, that was everything. Goodbye.",
)
UNKNOWN_ANSWERS = ("I do not know that, sorry.", "I am sorry, I do not know.", "I can't say, I am afraid.")
AGREEMENTS = ("Yes, that's right.", "Yes, please.", "Yes, exactly.")
REFUSALS = ("No, thank you.", "No thanks.")
FILLER_QUESTIONS = (
    "are you open at the weekend",
    "where can I park",
    "do I get that in writing",
    "can I change it later",
    "what does it cost",
    "how long does it take",
    "is there anything new",
)
"""Questions of a simulated user whose goals are reached but who may not hang up yet."""

_FACT_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "name": ("{}.", "My name is {}.", "It's {}."),
    "date": ("{}, please.", "On {}.", "{} would be good."),
    "time": ("At {}.", "At {}, please."),
    "count": ("{}.", "We will be {}.", "{}, please."),
}
_DEFAULT_FACT_TEMPLATES = ("{}.", "It is {}.")
_NEAR_DAY = re.compile(r"^(?:today|tonight|tomorrow|yesterday|next|this|last|the|in|on)\b", re.I)
_GENERAL = re.compile(
    r"\b(?:help you|do for you|anything else|what else|is the problem|brings you|which is it|can i help|can help if)\b"
)
_CHANGE = re.compile(r"\bwhat (?:should|shall|can|would) (?:i|you like me to) change\b|\bwhat is wrong\?")
_OFFER = re.compile(r"^(?:would you (?:like|rather|prefer)|do you (?:want|need)|are you interested)\b")
_CONFIRM = re.compile(r"^(?:is|are) (?:everything|it|that|this|all) (?:right|correct|fine)\b|\breally\b")
_LOST = re.compile(r"\bdid not understand\b|\bdid not hear\b")
_GOODBYE = re.compile(r"\b(?:goodbye|bye)\b", re.I)
_FILLER = re.compile(r"^Another question, number (\d+):")
_TERSE = re.compile(r"\b(?:brief|short|terse|impatient|hurry|busy|curt|rushed)\b", re.I)
_HESITANT = re.compile(r"\b(?:unsure|hesitant|confused|nervous|shy|elderly)\b", re.I)


@dataclass(frozen=True)
class CallerPrompt:
    """The parsed instructions of a simulated user."""

    manner: str
    goals: tuple[Goal, ...]
    facts: Mapping[str, str]


def parse_caller_prompt(instructions: str) -> CallerPrompt | None:
    """Parse the instructions of a simulated user. Returns None for other instructions."""
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
    return CallerPrompt(
        manner=manner[1] if manner else "",
        goals=parse_goals(goal),
        facts={name.strip(): value.strip() for name, _, value in facts if value},
    )


def next_message(prompt: CallerPrompt, lines: Sequence[Line], *, may_hang_up: bool, seed: int) -> str | None:
    """The simulated user's next message; None when it hangs up. The result depends on the arguments only."""
    return _Caller(prompt, lines, may_hang_up=may_hang_up, seed=seed).next_message()


def _is_decision(value: str) -> bool:
    """True for a fact that is a yes or a no."""
    return says_yes(value) or says_no(value)


def _overlap(question: str, name: str) -> float:
    """The overlap of a question with a fact's name: 1 per common content word, 0.5 per common word of any kind."""
    meant = len({word for word, _ in words_of(question)} & {word for word, _ in words_of(name)})
    return meant + len(set(normalized(question).strip("?").split()) & set(normalized(name).split())) / 2


class _Caller:
    def __init__(self, prompt: CallerPrompt, lines: Sequence[Line], *, may_hang_up: bool, seed: int) -> None:
        self._prompt = prompt
        self._said = [line.text for line in lines if line.by_model]
        self._message = next((line.text for line in reversed(lines) if not line.by_model), "")
        self._may_hang_up = may_hang_up
        self._seed = seed
        said = [normalized(line) for line in self._said]
        self._open_goals = [goal for goal in prompt.goals if not any(normalized(goal.spoken) in line for line in said)]

    def next_message(self) -> str | None:
        if self._said and _GOODBYE.search(self._said[-1]):
            return None if self._may_hang_up else self._filler_question()
        if not self._said:
            return f"{self._pick(GREETINGS)} {self._first_words()}"
        question, slot = last_question(self._message)
        if _LOST.search(normalized(self._message)):
            return self._repeat(question, slot)
        answer = self._answer(question, slot) if question else self._continue()
        return f"Um, {answer[0].lower()}{answer[1:]}" if self._is_hesitant(answer) else answer

    def _first_words(self) -> str:
        """The first goal, or an answer if the agent's greeting asks a question."""
        question, slot = last_question(self._message)
        if question and not _GENERAL.search(normalized(question)) and (answer := self._fact_for(question, slot)):
            return answer
        return self._next_goal() or "I have a question."

    def _answer(self, question: str, slot: Slot | None) -> str:
        text = normalized(question)
        if _GENERAL.search(text):
            return self._next_goal() or self._farewell()
        if _CHANGE.search(text):
            return self._correction() or "Nothing, it is fine as it is. Yes, that's right."
        known = self._fact_for(question, slot)
        if _CONFIRM.search(text):
            return self._change_of_mind() or self._correction() or known or self._pick(AGREEMENTS)
        return known or self._answer_without_fact(question, slot)

    def _answer_without_fact(self, question: str, slot: Slot | None) -> str:
        """The answer to a question for which the simulated user has no fact."""
        if slot is not None:
            return self._pick(UNKNOWN_ANSWERS)
        if _OFFER.search(normalized(question)):
            return self._matching_goal(question) or self._pick(REFUSALS)
        return self._next_goal() or self._pick(AGREEMENTS)

    def _continue(self) -> str:
        """The message after one without a question: the next goal, or a farewell."""
        return self._next_goal() or self._farewell()

    def _repeat(self, question: str, slot: Slot | None) -> str:
        """The message after the agent has not understood: the fact alone, or the last goal again."""
        if known := self._fact_for(question, slot):
            return known
        said = [goal for goal in self._prompt.goals if goal not in self._open_goals]
        goal = said[-1] if said else next(iter(self._open_goals), None)
        return f"Let me say it again: {goal.spoken}" if goal is not None else self._farewell()

    def _next_goal(self) -> str:
        return self._open_goals[0].spoken if self._open_goals else ""

    def _matching_goal(self, question: str) -> str:
        """The acceptance of an offer: an open goal that it matches, or a yes if it repeats words just said."""
        asked = {word for word, _ in words_of(question)}
        for goal in self._open_goals:
            if asked & {word for word, _ in words_of(goal.spoken)}:
                return f"Yes, please. {goal.spoken}"
        just_said = {word for line in self._said[-2:] for word, _ in words_of(line)}
        return self._pick(AGREEMENTS) if asked & just_said else ""

    def _change_of_mind(self) -> str:
        """An open goal to change something; it is said when the agent reads the details back."""
        return next((goal.spoken for goal in self._open_goals if goal.changes), "")

    def _correction(self) -> str:
        """A correction of the first detail that the agent has noted wrongly."""
        noted = details_in(self._message)
        changed = {kind_of(goal.changes) for goal in self._prompt.goals if goal.changes}
        for name, value in self._prompt.facts.items():
            kind = kind_of(name)
            known = details_in(value).get(kind)
            if (
                kind != "free"
                and kind not in changed
                and known
                and kind in noted
                and normalized(noted[kind]) != normalized(known)
            ):
                return f"No, that is wrong: the {name} is {value}."
        return ""

    def _fact_for(self, question: str, slot: Slot | None) -> str:
        """The answer with the fact that was asked for; empty when the simulated user does not know it."""
        kind = slot.kind if slot is not None else "free"
        scored = [
            (2.0 * (kind != "free" and kind_of(name) == kind) + _overlap(question, name), name)
            for name, value in self._prompt.facts.items()
            if (kind == "free" and slot is not None) or _is_decision(value) == (slot is None)
        ]
        best, name = max(scored, key=lambda each: each[0], default=(0.0, ""))
        return self._fact_text(name, self._prompt.facts[name]) if best >= 1 else ""

    def _fact_text(self, name: str, value: str) -> str:
        kind = kind_of(name)
        if _is_decision(value) or kind == "free":
            return f"{value[:1].upper()}{value[1:]}."
        if _TERSE.search(self._prompt.manner):
            return f"{value}."
        if kind == "count" and not re.search(r"[a-z]", value, re.I):
            value = f"{value} people"
        if kind == "date" and _NEAR_DAY.match(value):
            return f"{value[:1].upper()}{value[1:]}, please."
        return self._pick(_FACT_TEMPLATES.get(kind, _DEFAULT_FACT_TEMPLATES)).format(value)

    def _farewell(self) -> str:
        return self._pick(FAREWELLS) if self._may_hang_up else self._filler_question()

    def _filler_question(self) -> str:
        """A new question from a simulated user whose goals are reached but who may not hang up yet."""
        numbers = [int(found[1]) for line in self._said if (found := _FILLER.match(line))]
        number = max(numbers, default=0) + 1
        return f"Another question, number {number}: {FILLER_QUESTIONS[(number + self._seed) % len(FILLER_QUESTIONS)]}?"

    def _is_hesitant(self, answer: str) -> bool:
        return bool(_HESITANT.search(self._prompt.manner)) and self._number(2) == 0 and answer[:1].isalpha()

    def _pick(self, options: Sequence[str]) -> str:
        return options[self._number(len(options))]

    def _number(self, below: int) -> int:
        """A number below `below`, derived from the seed and the count of the simulated user's messages."""
        digest = sha256(f"{self._seed}\n{len(self._said)}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below
