"""Compatibility of Temporal payloads: newer code and older workers can read them during a deployment."""

import json
from collections.abc import Iterator, Mapping
from inspect import isfunction
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from activities.judge import JudgeActivities
from activities.model import ModelActivities
from activities.recovery import RecoveryActivities
from activities.settlement import SettlementActivities
from activities.simulated_caller import SimulationActivities
from activities.suites import SuiteActivities
from activities.tools import ToolActivities
from activities.webhooks import WebhookActivities
from contracts.sessions import message_update_id, session_workflow_id
from domain.sessions.commands import SendMessage
from domain.turns.turn import AgentSaid, Message, ToolReturned, UserSaid
from playhead.temporal.client import PayloadConverter
from tests.contracts.contract_schemas import CONTRACTS, SNAPSHOT, Json, broken_promises, forms, recorded, says_at_least
from tests.contracts.session_examples import example_records
from workflows.session.workflow import SessionWorkflow
from workflows.suite.workflow import SuiteWorkflow
from workflows.webhook_delivery import DeliverWebhookWorkflow

RECORD = "python -m tests.contracts.contract_schemas"
OWNERS = (
    SessionWorkflow,
    SuiteWorkflow,
    DeliverWebhookWorkflow,
    ModelActivities,
    SuiteActivities,
    ToolActivities,
    SettlementActivities,
    RecoveryActivities,
    SimulationActivities,
    JudgeActivities,
    WebhookActivities,
)
"""Everything with methods that Temporal calls."""


# --- the forms ----------------------------------------------------------------------------------


def test_no_change_of_a_contract_breaks_running_sessions() -> None:
    faults = list(broken_promises(recorded()["forms"], forms()))
    assert not faults, "\n".join(
        [
            "These changes break sessions that are running now:",
            *(f"  - {fault}" for fault in faults),
            "The histories of running sessions hold records in the old form, and a worker reads all of them again when",
            "it replays. One that no longer loads stops its session until the change is rolled back; one that loads",
            "with another meaning is worse. Give a new field a default. Keep a field that is no longer used. Do not",
            "change a field: add another one beside it and read both.",
            f"Only if nothing that was ever deployed has the old form, accept the new one: {RECORD}",
        ]
    )


def test_every_contract_is_recorded_in_its_present_form() -> None:
    known = recorded()["forms"]
    grown = [name for name, form in forms().items() if known.get(name) != form]
    assert not grown, (
        f"{', '.join(grown)} changed, and {SNAPSHOT.name} does not know it yet: a later change that breaks the new "
        f"form would go unnoticed. Record it and commit the file: {RECORD}"
    )


def test_everything_that_crosses_a_temporal_boundary_is_a_contract() -> None:
    crossing = {
        model
        for owner in OWNERS
        for name, method in vars(owner).items()
        if isfunction(method) and not name.startswith("_")
        for hint in get_type_hints(method).values()
        for model in models_in(hint)
    }
    known = {"StartSession", "SendMessage", "SettleTurnsInput", "CallToolInput", "ExtractionResult", "SessionHead"}
    assert known <= {each.__name__ for each in crossing}
    missing = sorted(model.__name__ for model in crossing - set(CONTRACTS))
    assert not missing, f"{missing} cross a Temporal boundary: keep them in contracts/ or name them in CONTRACTS"


@pytest.mark.parametrize(
    ("fields", "required", "fault"),
    [
        ({"a": {"type": "string"}}, ["a"], "Thing.b was removed"),
        ({"a": {"type": "integer"}}, ["a"], "Thing.a was changed"),
        ({}, ["a", "b"], "Thing.b has lost its default"),
        ({"c": {"type": "string"}}, ["a", "c"], "Thing.c is new and has no default"),
        ({"b": {"type": "string", "enum": ["x"]}}, ["a"], "Thing.b was changed"),
        ({"a": {"type": "string", "maxLength": 5}}, ["a"], "Thing.a was changed"),
        ({"c": {"type": "string"}}, ["a"], None),
        ({"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, [], None),
        ({"b": {"type": "string", "enum": ["z", "y", "x"]}}, ["a"], None),
        ({"b": {"type": "string"}}, ["a"], None),
    ],
)
def test_the_check_reports_only_breaking_changes(fields: Json, required: list[str], fault: str | None) -> None:
    before = {"a": {"type": "string"}, "b": {"type": "string", "enum": ["x", "y"]}}
    now = fields if fault == "Thing.b was removed" else {**before, **fields}
    faults = list(
        broken_promises(
            {"Thing": {"fields": before, "required": ["a"]}}, {"Thing": {"fields": now, "required": required}}
        )
    )
    assert [each[: len(fault or "")] for each in faults] == ([fault] if fault else [])


# --- the records --------------------------------------------------------------------------------


def test_every_old_record_loads_with_its_meaning_unchanged() -> None:
    for contract in CONTRACTS:
        record = recorded()["records"][contract.__name__]
        loaded = contract.model_validate_json(json.dumps(record))
        assert says_at_least(loaded.model_dump(mode="json"), record), (
            f"A recorded {contract.__name__} loads, but something it says is lost or different now. Running sessions "
            "depend on it: keep the field, and read the old form beside the new one."
        )


def test_every_record_from_before_fields_with_defaults_were_added_loads() -> None:
    for contract in CONTRACTS:
        example = example_records()[contract.__name__]
        record = example.model_dump(mode="json")
        for part, model in parts(record, example):
            for name, field in type(model).model_fields.items():
                if not field.is_required() and name != "kind":  # `kind` has been in every message from the start
                    part.pop(name, None)
        contract.model_validate_json(json.dumps(record))


def test_every_record_of_a_newer_worker_loads_without_its_unknown_fields() -> None:
    for contract in CONTRACTS:
        example = example_records()[contract.__name__]
        record = example.model_dump(mode="json")
        for part, _ in parts(record, example):
            part["a_field_of_tomorrow"] = {"with": ["anything"]}
        assert contract.model_validate_json(json.dumps(record)) == example, contract.__name__


def test_every_contract_survives_temporals_payload_converter() -> None:
    for contract in CONTRACTS:
        example = example_records()[contract.__name__]
        converter = PayloadConverter()
        assert converter.from_payload(converter.to_payload(example), contract) == example, contract.__name__


@pytest.mark.parametrize(
    "message", [UserSaid(text="Yes."), AgentSaid(text="No."), ToolReturned(call_id="1", name="a", content="b")]
)
def test_the_kind_of_a_message_is_always_serialized(message: Message) -> None:
    payload = PayloadConverter().to_payload(message)
    assert json.loads(payload.data)["kind"] == message.kind


def test_a_default_that_changed_changes_what_old_payloads_mean() -> None:
    form = {"fields": {"a": {"type": "integer"}}, "required": [], "defaults": {"a": 1}}
    [fault] = broken_promises({"Thing": form}, {"Thing": {**form, "defaults": {"a": 2}}})
    assert fault.startswith("Thing.a has another default")
    assert not list(broken_promises({"Thing": form}, {"Thing": form}))


def test_every_contract_survives_json_and_is_immutable() -> None:
    for contract in CONTRACTS:
        example = example_records()[contract.__name__]
        assert contract.model_validate_json(example.model_dump_json()) == example, contract.__name__
        assert contract.model_config.get("frozen"), contract.__name__
        with pytest.raises(ValueError, match="frozen"):
            setattr(example, next(iter(contract.model_fields)), None)


# --- ids ----------------------------------------------------------------------------------------


def test_update_ids_are_equal_for_repeats_and_differ_otherwise() -> None:
    message = SendMessage(text="A table.", message_id="m1")
    repeat = message.model_copy(update={"expected_revision": 7, "on_busy": "enqueue"})
    assert message_update_id(repeat) == message_update_id(message)
    others: list[dict[str, object]] = [
        {},
        {"text": "Two tables."},
        {"message_id": "m2"},
        {"wait": False},
        {"message_id": message_update_id(message)},
        {"message_id": f"{message_update_id(message)}~accepted"},
        {"message_id": ""},
    ]
    assert len({message_update_id(message.model_copy(update=other)) for other in others}) == len(others)


def test_message_without_an_id_has_no_update_id() -> None:
    with pytest.raises(ValueError, match="message_id"):
        message_update_id(SendMessage(text="Yes."))


def test_update_id_is_short_and_hides_the_text() -> None:
    update_id = message_update_id(SendMessage(text="secret " * 1000, message_id="m" * 200, wait=False))
    assert len(update_id) < 255
    assert "secret" not in update_id


def test_session_is_found_under_its_id() -> None:
    assert session_workflow_id("ses_1") == "session-ses_1"


# --- walking through values ---------------------------------------------------------------------


def models_in(hint: object) -> Iterator[type[BaseModel]]:
    """The models that a type hint names."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for part in get_args(hint):
        yield from models_in(part)


def parts(record: Any, value: object) -> Iterator[tuple[Json, BaseModel]]:
    """Every model inside a value, innermost first, with its place in the value's JSON form."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from parts(record[name], getattr(value, name))
        yield record, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from parts(record[key], each)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from parts(record[index], each)
