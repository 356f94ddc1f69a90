"""Schemas of all contracts: present ones, recorded ones, and the check that old records can still be read.

`python -m tests.contracts.contract_schemas`, from the root of the checkout, records what is new in `contracts.json`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from inspect import isclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from contracts import reconciliation, recovery, sessions, suites, tools, webhooks
from contracts.caller import PlayCallerInput, PlayCallerResult
from contracts.judge import JudgeInput, JudgeResult
from domain.durable import FrozenModel
from domain.rejections import Rejection
from domain.sessions import commands
from domain.sessions.caller_config import SetSimulator
from domain.sessions.views import SessionHead, TimelineView
from domain.suites.suite_state import SuiteProgress
from domain.turns.engine import ExtractionResult
from tests.contracts.session_examples import example_records

Json = dict[str, Any]

SNAPSHOT = Path(__file__).with_name("contracts.json")
CONTRACTS: tuple[type[BaseModel], ...] = (
    *(
        each
        for module in (commands, reconciliation, recovery, sessions, suites, tools, webhooks)
        for each in vars(module).values()
        if isclass(each) and issubclass(each, FrozenModel) and each.__module__ == module.__name__
    ),
    ExtractionResult,
    SessionHead,
    TimelineView,
    Rejection,
    SetSimulator,
    PlayCallerInput,
    PlayCallerResult,
    JudgeInput,
    JudgeResult,
    SuiteProgress,
)
FOR_PEOPLE = ("title", "description", "default", "discriminator")
VALUES = ("enum", "const")
UPPER_BOUNDS = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
LOWER_BOUNDS = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")


def recorded() -> Json:
    """The content of `contracts.json`: `forms` by model, and `records` by contract."""
    snapshot: Json = json.loads(SNAPSHOT.read_text())
    return snapshot


def forms() -> Json:
    """The present form of every contract and of its nested models: fields, required fields and defaults."""
    _, written = models_json_schema([(each, "serialization") for each in CONTRACTS])
    _, read = models_json_schema([(each, "validation") for each in CONTRACTS])
    return {
        name: {
            "fields": {field: _bare(form) for field, form in definition.get("properties", {}).items()},
            "required": sorted(read["$defs"][name].get("required", [])),
            "defaults": {
                field: form["default"]
                for field, form in read["$defs"][name].get("properties", {}).items()
                if "default" in form
            },
        }
        for name, definition in sorted(written["$defs"].items())
    }


def broken_promises(before: Json, now: Json) -> Iterator[str]:
    """Incompatibilities of the present form with records in the earlier one, as sentences."""
    for name, form in before.items():
        if name in now:
            yield from _broken_fields(name, form, now[name])
        else:
            yield f"{name} was removed or renamed"


def says_at_least(now: object, record: object) -> bool:
    """True if everything in a record is present and equal in the parsed value."""
    if isinstance(record, dict) and isinstance(now, dict):
        return all(key in now and says_at_least(now[key], each) for key, each in record.items())
    if isinstance(record, list) and isinstance(now, list):
        return len(now) == len(record) and all(map(says_at_least, now, record))
    return now == record


def record_forms() -> list[str]:
    """Write down the present forms, and a record of each contract unless an earlier one can still be read.

    Returns the promises that this breaks, as sentences.
    """
    known = recorded() if SNAPSHOT.exists() else {"forms": {}, "records": {}}
    examples = example_records()
    records = {}
    for contract in CONTRACTS:
        name = contract.__name__
        example = examples[name].model_dump(mode="json")
        records[name] = known["records"][name] if _is_readable(contract, known["records"].get(name)) else example
    broken = list(broken_promises(known["forms"], forms()))
    snapshot = {"forms": forms(), "records": records}
    SNAPSHOT.write_text(json.dumps(snapshot, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return broken


def _is_readable(contract: type[BaseModel], record: object) -> bool:
    try:
        return says_at_least(contract.model_validate_json(json.dumps(record)).model_dump(mode="json"), record)
    except ValidationError:
        return False


def _bare(form: object) -> object:
    """A schema without the keys of `FOR_PEOPLE`."""
    if isinstance(form, list):
        return [_bare(each) for each in form]
    if isinstance(form, dict):
        return {key: _bare(each) for key, each in form.items() if key not in FOR_PEOPLE}
    return form


def _broken_fields(name: str, before: Json, now: Json) -> Iterator[str]:
    for field, form in before["fields"].items():
        if field not in now["fields"]:
            yield f"{name}.{field} was removed: what old records say in it is lost"
        elif not _still_reads(form, now["fields"][field]):
            yield f"{name}.{field} was changed from {json.dumps(form)} to {json.dumps(now['fields'][field])}"
        elif field in now["required"] and field not in before["required"]:
            yield f"{name}.{field} has lost its default: old records without it no longer load"
    defaults = now.get("defaults", {})
    for field, default in before.get("defaults", {}).items():
        if field in defaults and defaults[field] != default:
            yield f"{name}.{field} has another default: payloads leave defaults out, and mean the old one"
    for field in now["required"]:
        if field not in before["fields"]:
            yield f"{name}.{field} is new and has no default: old records do not have it and no longer load"


def _still_reads(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """True if every value of the earlier form is certainly valid in the present form."""
    choices = now.get("anyOf") or now.get("oneOf")
    if choices:
        earlier = before.get("anyOf") or before.get("oneOf") or [before]
        return all(any(_still_reads(old, new) for new in choices) for old in earlier)
    if not _loosened(before, now):
        return False
    kept = [{key: each for key, each in form.items() if not _is_limit(key)} for form in (before, now)]
    return kept[0].keys() == kept[1].keys() and all(_still_reads_part(kept[0][key], kept[1][key]) for key in kept[0])


def _still_reads_part(before: object, now: object) -> bool:
    if isinstance(before, dict) and isinstance(now, dict):
        return _still_reads(before, now)
    return before == now


def _is_limit(key: str) -> bool:
    return key in (*VALUES, *UPPER_BOUNDS, *LOWER_BOUNDS)


def _loosened(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """True if the present form limits values no more than the earlier form did."""
    if any(key in now for key in VALUES) and not (_values(before) and _values(before) <= _values(now)):
        return False
    upper = all(key in before and before[key] <= now[key] for key in UPPER_BOUNDS if key in now)
    return upper and all(key in before and before[key] >= now[key] for key in LOWER_BOUNDS if key in now)


def _values(form: Mapping[str, Any]) -> set[Any]:
    return set(form.get("enum", [form["const"]] if "const" in form else []))


if __name__ == "__main__":
    accepted = record_forms()
    for promise in accepted:
        sys.stdout.write(f"accepted: {promise}\n")
    sys.stdout.write(f"{SNAPSHOT.name} holds {len(CONTRACTS)} contracts\n")
