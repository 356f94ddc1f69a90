"""Parser of a simulated user's goal: each sentence becomes a message that a person would say."""

import re
from dataclasses import dataclass

_WANTS = re.compile(
    r"^(?:then |after that |finally |first |and )*,?\s*(?:you |the caller |she |he |they )?"
    r"(?:(?:would |'d )?(?:wants?|needs?|like|likes|wishes|tries|try|plans?|hopes?) to |must |should |are to |is to )?",
    re.I,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+|;\s+")
_BEHAVIOUR = re.compile(
    r"^(?:if|when|whenever|unless|once|only|never|do not|don't|be|stay|insist|hang up|wait|answer|accept|refuse|"
    r"agree)\b",
    re.I,
)
_SPEECH = (
    (re.compile(r"^(?:ask|find out|check) (?:whether|if) (.+)$", re.I), "Could you tell me whether {}?"),
    (re.compile(r"^(?:ask|find out|check) (?:about|for information about) (.+)$", re.I), "Could you tell me about {}?"),
    (re.compile(r"^(?:ask|find out) ((?:what|when|where|which|who|how|why)\b.+)$", re.I), "Could you tell me {}?"),
    (re.compile(r"^ask for (.+)$", re.I), "I would like {}, please."),
    (re.compile(r"^(?:say|tell (?:them|the agent|her|him)|explain|mention|complain) that (.+)$", re.I), "{}."),
    (re.compile(r"^(?:complain) about (.+)$", re.I), "I want to complain about {}."),
)
_CHANGE = re.compile(r"^(?:change|correct|move|switch) (?:the |your )?(.+?) (?:from .+ )?to (.+)$", re.I)
_COUNTED = re.compile(r"\b(?:party size|number of|how many|guests|people)\b", re.I)
_ROLES = (
    (r"\byours\b", "mine"),
    (r"\byour\b", "my"),
    (r"\byourself\b", "myself"),
    (r"\byou are\b", "I am"),
    (r"(?:(?<=that )|(?<=whether )|(?<=because )|(?<=what )|(?<=when )|(?<=if )|^)you\b", "I"),
    (r"\byou\b", "me"),
)


@dataclass(frozen=True)
class Goal:
    """A goal of a simulated user as a message. `changes` is the detail that it changes, or empty."""

    spoken: str
    changes: str = ""


def parse_goals(goal: str) -> tuple[Goal, ...]:
    """The goals in a text, in its order. Sentences about the simulated user's behaviour are left out."""
    sentences = (" ".join(sentence.split()).rstrip(" .!") for sentence in _SENTENCE_END.split(goal))
    return tuple(
        _goal(sentence) for sentence in sentences if sentence and not _BEHAVIOUR.match(_without_subject(sentence))
    )


def _goal(sentence: str) -> Goal:
    wanted = _in_first_person(_without_subject(sentence))
    if change := _CHANGE.match(wanted):
        what, value = change[1], change[2]
        people = value if re.search(r"\b(?:people|guests|persons?)\b", value) else f"{value} people"
        spoken = f"Actually, make it {people}." if _COUNTED.search(what) else f"Actually, the {what} should be {value}."
        return Goal(spoken, changes=what)
    for pattern, template in _SPEECH:
        if match := pattern.match(wanted):
            said = template.format(match[1].rstrip("?"))
            return Goal(f"{said[:1].upper()}{said[1:]}")
    if re.match(r"(?:i|it|my|there|the|we|this)\b", wanted, re.I):
        return Goal(f"{wanted[:1].upper()}{wanted[1:]}.")
    return Goal(f"I would like to {wanted}.")


def _without_subject(sentence: str) -> str:
    """A sentence without its subject: "You want to book a table" -> "book a table"."""
    rest = sentence[match.end() :] if (match := _WANTS.match(sentence)) else sentence
    return f"{rest[:1].lower()}{rest[1:]}" if not re.match(r"I\b", rest) else rest


def _in_first_person(text: str) -> str:
    for pattern, mine in _ROLES:
        text = re.sub(pattern, mine, text, flags=re.I)
    return text
