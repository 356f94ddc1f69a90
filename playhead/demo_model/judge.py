"""The demo model as a judge: compares the words of each criterion with those of the turns. Pure."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from domain.suites.judge_prompt import CRITERIA_HEADING
from playhead.demo_model.language import normalized, words_of

PASS_SHARE = 0.6
"""Share of a criterion's words that a conversation must have for the criterion to pass."""
FAIL_SHARE = 0.35
"""Share up to which the criterion fails; between the two the outcome is inconclusive."""
VIOLATION_SHARE = 0.75
"""Share of a forbidden statement's words that one turn must have for the statement to count as made."""

_NUMBERED = re.compile(r"^(\d+)\. (.+)$", re.M)
_LINE = re.compile(r"^\[(turn_\w+)\] (?:(caller|agent): (\".*\")|(.*))$", re.M)
_ABOUT_SPEAKING = (
    "say conversation whether answer answered explain explained mention mentioned discuss discussed speak suggest "
    "suggested offer offered promise promised"
)
_ABOUT_JUDGING = frozenset(word for word, _ in words_of(_ABOUT_SPEAKING))
_SENTENCE = re.compile(r"[^\s.!?][^.!?]*[.!?]*")
_NUMBER = re.compile(r"\b\d[\d:.]*\b")
_PHRASES = (
    (re.compile(r"\bthe (?:agent|caller|customer|person|user|visitor)\b", re.I), " "),
    (re.compile(r"\bread(?:s)?\b(.{1,40}?)\bback\b", re.I), r"repeat\1"),
    (re.compile(r"\b(?:told|tells|said|says|informed?)\b", re.I), "says"),
)


@dataclass(frozen=True)
class _TurnEvidence:
    """The text of the agent's messages and actions in one turn, its content words, and the sentences it said."""

    turn_id: str
    words: frozenset[str]
    text: str
    sentences: tuple[str, ...]


def judge(instructions: str, asked: str) -> dict[str, JsonValue]:
    """A verdict on each criterion of the instructions, as arguments of the verdict tool."""
    listed = instructions.partition(f"{CRITERIA_HEADING}\n")[2]
    shown = tuple(_turns(asked))
    return {
        "verdicts": [_judge_criterion(int(number), criterion, shown) for number, criterion in _NUMBERED.findall(listed)]
    }


def _judge_criterion(number: int, criterion: str, shown: Sequence[_TurnEvidence]) -> JsonValue:
    for pattern, replacement in _PHRASES:
        criterion = pattern.sub(replacement, criterion)
    words = words_of(criterion)
    unwanted = {word for word, negated in words if negated} - _ABOUT_JUDGING
    wanted = {word for word, negated in words if not negated} - _ABOUT_JUDGING
    if not unwanted and not wanted:
        return _verdict_of(number, "inconclusive", "The demo model finds no words in it to look for.", shown[-1:])
    if unwanted:
        return _judge_forbidden(number, unwanted, shown)
    return _judge_required(number, criterion, wanted, shown)


def _judge_forbidden(number: int, unwanted: set[str], shown: Sequence[_TurnEvidence]) -> JsonValue:
    for turn in shown:
        if len(unwanted & turn.words) >= VIOLATION_SHARE * len(unwanted):
            return _verdict_of(number, "failed", f"In {turn.turn_id} the agent did: {_excerpt(turn)}", [turn], unwanted)
    return _verdict_of(number, "passed", f"No turn up to {_last_id(shown)} shows it.", shown[-1:])


def _judge_required(number: int, criterion: str, wanted: set[str], shown: Sequence[_TurnEvidence]) -> JsonValue:
    figures = _NUMBER.findall(criterion)
    best = sorted(shown, key=lambda turn: len(wanted & turn.words), reverse=True)[:2]
    found = {word for turn in shown for word in wanted & turn.words}
    missing = [figure for figure in figures if not any(figure in turn.text for turn in shown)]
    part = (len(found) + len(figures) - len(missing)) / ((len(wanted) + len(figures)) or 1)
    if part >= PASS_SHARE and not missing:
        return _verdict_of(number, "passed", f"{_ids(best)} shows it: {_excerpt(best[0])}", best, wanted)
    if part <= FAIL_SHARE or missing:
        lacking = ", ".join([*missing, *_as_written(criterion, wanted - found)]) or "it"
        return _verdict_of(number, "failed", f"No turn up to {_last_id(shown)} shows: {lacking}.", shown[-1:])
    return _verdict_of(number, "inconclusive", f"{_ids(best)} shows it in part.", best, wanted)


def _as_written(criterion: str, words: set[str]) -> list[str]:
    """The words of a criterion as they are written there, given their stems."""
    written = re.findall(r"[\w'-]+", criterion)
    return [each for each in dict.fromkeys(written) if {word for word, _ in words_of(each)} & words]


def _turns(asked: str) -> Iterable[_TurnEvidence]:
    texts: dict[str, list[str]] = {}
    sentences: dict[str, list[str]] = {}
    for turn_id, speaker, quoted, happened in _LINE.findall(asked):
        text = json.loads(quoted) if quoted else happened.replace("_", " ")
        if speaker != "caller":
            texts.setdefault(turn_id, []).append(text)
        if speaker == "agent":
            sentences.setdefault(turn_id, []).extend(_SENTENCE.findall(text))
    for turn_id, said in texts.items():
        words = frozenset(word for each in said for word, _ in words_of(each))
        yield _TurnEvidence(turn_id, words, normalized(" ".join(said)), tuple(sentences.get(turn_id, ())))


def _verdict_of(
    number: int, outcome: str, reason: str, turns: Sequence[_TurnEvidence], sought: Collection[str] = ()
) -> JsonValue:
    """A verdict that quotes, from each of the turns, the sentence with the most of the `sought` words."""
    best = [(turn.turn_id, _closest(turn.sentences, sought)) for turn in turns]
    quotes: list[JsonValue] = [{"turn_id": turn_id, "text": text} for turn_id, text in best if text]
    return {
        "criterion": number,
        "reason": reason,
        "turn_ids": [turn.turn_id for turn in turns],
        "quotes": quotes,
        "outcome": outcome,
    }


def _closest(sentences: Sequence[str], sought: Collection[str]) -> str | None:
    """The sentence with the most of the words; None when none has one of them."""

    def matches(sentence: str) -> int:
        return len({word for word, _ in words_of(sentence)} & set(sought))

    best = max(sentences, key=matches, default="")
    return best if matches(best) else None


def _excerpt(turn: _TurnEvidence) -> str:
    return turn.text if len(turn.text) <= 160 else f"{turn.text[:157]}..."


def _ids(turns: Sequence[_TurnEvidence]) -> str:
    return " and ".join(turn.turn_id for turn in turns) or "no turn"


def _last_id(shown: Sequence[_TurnEvidence]) -> str:
    return shown[-1].turn_id if shown else "the end"
