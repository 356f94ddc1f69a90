"""One full example of every session contract, without default values where others are possible."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from contracts.sessions import (
    AgentRef,
    GenerateStepInput,
    GenerateStepResult,
    ReturnResultsResult,
    SendMessageResult,
    SessionResult,
    SettleTurnsInput,
    SettleTurnsResult,
    StartSession,
    StepHeartbeat,
    Timing,
    TurnStart,
)
from contracts.tools import CallHeartbeat, CallToolInput, CallToolResult
from domain.agents.definition import (
    AgentDefinition,
    ApprovalRule,
    ClientTool,
    Extraction,
    HttpTool,
    Limits,
    McpTool,
    Node,
    Origin,
    Transition,
    Webhook,
)
from domain.durable import FrozenModel
from domain.rejections import Rejection
from domain.sessions import client_calls
from domain.sessions.approvals import request
from domain.sessions.command_handlers import cancel, record_fetched_context
from domain.sessions.commands import (
    CancelTurn,
    ClientResult,
    DecideApproval,
    EditMessage,
    EndSession,
    Regenerate,
    RestoreBranch,
    ReturnResults,
    Rewind,
    SendMessage,
)
from domain.sessions.timeline import AuxiliaryCall, ForkPoint, WaitingApproval, WaitingClientCall
from domain.sessions.turn_completion import complete, record_extraction
from domain.sessions.views import head_of, view_of
from domain.turns.engine import ExtractionResult, ModelReply, ToolCall
from domain.turns.turn import AgentSaid, Message, ReplyFormat, ReplyOptions, ToolReturned, UserSaid
from domain.usage import ModelUsage, Usage, merge_costs, rounded_cost, unpriced_cost
from tests.contracts.reconciliation_examples import reconciliation_examples
from tests.contracts.recovery_examples import recovery_examples
from tests.contracts.simulator_examples import CALLER, MOCK, SIMULATION, simulator_records
from tests.contracts.suite_examples import suite_records
from tests.contracts.webhook_examples import TARGET, webhook_records
from tests.support.conversation import Conversation, answered

OPTIONS = ReplyOptions(
    context={"system_message": "Be brief."},
    client_tools=("transfer",),
    reply_format=ReplyFormat(
        json_schema={"type": "object"}, name="booking", description="What was booked.", strict=True
    ),
)
RESULT = ClientResult(call_id="call_1_t5_1_0_9f86d081884c", content="Connected.", is_error=True)
AGENT = AgentRef(id="agt_1", version=3)
DEFINITION = AgentDefinition(
    name="booking-line",
    model="openai:gpt-5-mini",
    prompt="You speak for Osteria Fiorella.",
    start="greet",
    nodes={
        "greet": Node(
            prompt="Find out what the caller wants.",
            greeting="Good evening {{first_name | and welcome}}.",
            tools=("find_table", "crm"),
            extract=(Extraction(name="party_size", type="number", hint="how many guests"),),
            transitions=(Transition(name="bye", when="the caller is done", to="goodbye", say="One moment."),),
        ),
        "goodbye": Node(
            prompt="Say goodbye.", end=True, use_global_prompt=False, origin=Origin(id="7", name="Good bye!")
        ),
    },
    tools={
        "find_table": HttpTool(
            kind="http",
            description="Finds a free table.",
            parameters={"type": "object", "properties": {"guests": {"type": "integer"}}},
            method="GET",
            url="https://example.com/tables",
            headers={"X-Tenant": "osteria"},
            timeout_seconds=2.5,
            retries=1,
            retry_pause_seconds=0.5,
            max_response_bytes=1_000,
            assign={"table": "tables.0"},
            approval=ApprovalRule(timeout_seconds=60, reason="A table for {{guests}}."),
            secrets=("BOOKING_KEY",),
            body={"guests": "{{guests}}"},
        ),
        "crm": McpTool(kind="mcp", url="https://example.com/mcp", allow=("find",), secrets=("CRM_KEY",)),
        "transfer": ClientTool(kind="client", description="Transfers the call.", timeout_seconds=20),
    },
    context={"first_name": None, "guests": [1, {"vip": True}]},
    limits=Limits(
        inactivity_seconds=60, max_turns=50, max_cost_usd=Decimal("1.50"), max_steps_per_turn=5, deadline_seconds=90
    ),
    pre_call_fetch="find_table",
    webhook=Webhook(url="https://example.com/hook", secret="HOOK_KEY"),
)
MESSAGES: tuple[Message, ...] = (
    AgentSaid(text="Good evening Ann."),
    UserSaid(text="A table. ä 🙂"),
    ToolReturned(call_id="c1", name="find_table", content="Table 7."),
)
AT = datetime(2026, 11, 27, 10, 0, 5, tzinfo=UTC)
OPENING = TurnStart(parent_id="t0", index=1, created_at=AT, said_at=AT, message_id="m1")
REPLY = ModelReply(
    text="Let me see.",
    tool_calls=(ToolCall(id="c1", name="find_table", arguments={"guests": 2}),),
    usage=Usage(
        llm={
            "openai:gpt-5-mini": ModelUsage(
                prompt_tokens=100,
                completion_tokens=20,
                total_tokens=120,
                cache_read_input_tokens=30,
                cache_creation_input_tokens=10,
                requests=1,
            )
        },
        duration_seconds=1.25,
    ),
    cost=merge_costs([rounded_cost("openai:gpt-5-mini", Decimal("0.0000123")), unpriced_cost("test:secret")]),
)


def example_records() -> dict[str, FrozenModel]:
    """The examples, by the name of their contract. The same at every call."""
    talk = _eventful()
    timeline = talk.timeline
    head = head_of(timeline, DEFINITION, "run-1")
    step = GenerateStepInput(
        session_id="ses_1",
        organization_id="org_1",
        turn_id="t1",
        step=2,
        after="1b7a",
        agent=AGENT,
        model="openai:gpt-5-mini",
        node_id="greet",
        messages=MESSAGES,
        context={"first_name": "Ann"},
        timeout=60,
        opening=OPENING,
        said="One moment.",
        reply_format=OPTIONS.reply_format,
        withheld=("transfer",),
    )
    examples = (
        SendMessage(
            text="A table.",
            message_id="m1",
            expected_revision=4,
            on_busy="enqueue",
            wait=False,
            options=OPTIONS,
            hands_over=True,
            results=(RESULT,),
        ),
        Rewind(turn_id="t1", before=True, expected_revision=4),
        EditMessage(
            turn_id="t1",
            text="Two tables.",
            message_id="m1",
            expected_revision=4,
            wait=False,
            options=OPTIONS,
            hands_over=True,
        ),
        Regenerate(turn_id="t1", message_id="m1", expected_revision=4, wait=False, options=OPTIONS, hands_over=True),
        CancelTurn(expected_revision=4),
        RestoreBranch(branch_id="br_1", expected_revision=4),
        EndSession(reason="done", expected_revision=4),
        DecideApproval(call_id="t1.1.0.c1", reason="It is too expensive.", expected_revision=4),
        RESULT,
        ReturnResults(results=(RESULT,), expected_revision=4, wait=True),
        AGENT,
        Timing(model_timeout=60, heartbeat=5, retry_initial=0.5, retry_maximum=10, settle_within=1),
        StartSession(
            session_id="ses_1",
            organization_id="org_1",
            agent=AGENT,
            definition=DEFINITION,
            model="openai:gpt-5-mini",
            name="WR-TEXT-ABCDEF",
            initial_context={"first_name": "Ann"},
            timing=Timing(heartbeat=5),
            timeline=timeline,
            suite_id="sui_1",
            simulator=CALLER,
            mocks=(MOCK,),
            webhook=TARGET,
        ),
        SessionResult(completion_reason="done", revision=9, turns=5),
        SendMessageResult(turn=timeline.turns["t1"], head=head, previous_version=3),
        ReturnResultsResult(turn=timeline.turns["t1"], head=head, said=11, used=REPLY.usage),
        OPENING,
        step,
        GenerateStepResult(reply=REPLY, reused=True),
        StepHeartbeat(provider_failures=2),
        SettleTurnsInput(
            session_id="ses_1",
            organization_id="org_1",
            agent=AGENT,
            head=head,
            turns=tuple(timeline.turns.values()),
            branches=timeline.discarded_branches,
            facts=timeline.unrecorded.facts,
            restored_branch_ids=("br_1",),
            auxiliary_calls=timeline.unrecorded.auxiliary_calls,
            taken_over=("t0",),
            first_run_id="run-1",
            follows=(3, 4),
        ),
        SettleTurnsResult(billed=2, record="is_ahead"),
        *recovery_examples(AGENT, timeline.turns.values(), step, REPLY, MESSAGES),
        CallToolInput(
            session_id="ses_1",
            organization_id="org_1",
            turn_id="t1",
            call_id="1.0.c1",
            agent=AGENT,
            tool="find_table",
            arguments={"guests": 2},
            context={"first_name": "Ann"},
            mocks=(MOCK,),
        ),
        CallHeartbeat(failures=2),
        CallToolResult(content="Error (http_error): away.", error="http_error", status=503, assigned={"table": 7}),
        ExtractionResult(
            values={"party_size": 2, "vip": True},
            error="The model recorded nothing that can be read.",
            usage=REPLY.usage,
            cost=REPLY.cost,
        ),
        head,
        view_of(timeline, DEFINITION, "run-1"),
        Rejection(code="revision_conflict", detail="Read it again.", figures={"expected_revision": 1, "turn_id": None}),
        *simulator_records(AGENT),
        *suite_records(AGENT, DEFINITION),
        *webhook_records(),
    )
    every = (*examples, *reconciliation_examples(examples))
    return {type(example).__name__: example for example in every}


def _eventful() -> Conversation:
    """A conversation with a discarded branch, a rewind, a failure, a queue, and everything else a timeline keeps."""
    talk = Conversation().greeted()
    talk.timeline = record_fetched_context(talk.timeline, {"member": True}, at=talk.tick())
    first = talk.say("A table. ä 🙂", message_id="m1")
    progress = answered(first, "Let me see.").model_copy(
        update={"usage": REPLY.usage, "cost": REPLY.cost, "gathered_context": {"guests": 2}, "messages": MESSAGES}
    )
    talk.timeline = complete(talk.timeline, progress, talk.limits, at=talk.tick())
    talk.exchange("Tonight.")
    talk.rewind(first)
    talk.say("Tomorrow.", message_id="m2")
    talk.say("Hello?", on_busy="enqueue")
    talk.fail()
    talk.say("Are you there?", message_id="m3", on_busy="enqueue")
    talk.rewind(first)
    talk.say("Once more.", message_id="m4")
    talk.say("And then?", message_id="m5", on_busy="enqueue")
    waiting = WaitingApproval(
        call_id="t5.1.0.c1",
        turn_id="t5",
        tool="find_table",
        arguments={"guests": 2},
        reason="It costs money.",
        requested_at=talk.now,
        expires_at=talk.now + timedelta(hours=1),
    )
    talk.timeline = request(talk.timeline, waiting, at=talk.tick())
    for call_id in (RESULT.call_id, "call_1_t5_1_1_9f86d081884c"):
        call = WaitingClientCall(
            call_id=call_id,
            turn_id="t5",
            tool="transfer",
            arguments={"to": "sales"},
            said="One moment.",
            used=REPLY.usage,
            requested_at=talk.now,
            expires_at=talk.now + timedelta(minutes=5),
        )
        talk.timeline = client_calls.request(talk.timeline, call, at=talk.tick())
    talk.timeline = client_calls.return_results(talk.timeline, ReturnResults(results=(RESULT,)), at=talk.tick())
    talk.timeline = cancel(talk.timeline, CancelTurn(), at=talk.tick())
    at_the_end = AuxiliaryCall(
        id="turn_a",
        purpose="caller",
        after_turn_id=first,
        created_at=talk.now,
        usage=REPLY.usage,
        cost=REPLY.cost,
        error="It said nothing.",
    )
    learned = ExtractionResult(values={"party_size": 2}, error="Half of it cannot be read.")
    talk.timeline = record_extraction(talk.timeline, at_the_end, learned, at=talk.tick())
    forked_from = ForkPoint(session_id="ses_0", turn_id="t0")
    talk.timeline = talk.timeline.model_copy(update={"forked_from": forked_from, "simulator": SIMULATION})
    return talk
