"""Digests of model calls: other instructions for the model give another digest."""

from domain.agents.definition import AgentDefinition, Extraction, Node
from domain.turns.call_digest import instructions_digest, step_digest
from domain.turns.engine import instructions_at, template_values
from domain.turns.extraction import extraction_texts
from tests.domain.turns.answering import AT

AGENT = AgentDefinition(
    name="desk",
    prompt="You speak for {{company}}.",
    start="talk",
    nodes={
        "talk": Node(prompt="It is {{current_time}}.", extract=(Extraction(name="day", hint="not {{closed}}"),)),
        "sell": Node(prompt="Sell to {{caller | somebody}}."),
    },
)
OPENED = {"company": "Fiorella"}


def shown(node_id: str, seconds: int = 0, **found: str) -> str:
    values = template_values(AGENT, OPENED, found, AT.replace(second=seconds))
    opened = template_values(AGENT, OPENED, {})
    return instructions_digest(instructions_at(AGENT, node_id, values), instructions_at(AGENT, node_id, opened))


def test_values_that_the_model_is_shown_make_another_call() -> None:
    assert shown("talk") == shown("talk", caller="Ann") != shown("talk", seconds=1)
    assert shown("sell") == shown("sell", seconds=1) == shown("sell", company="Fiorella") == ""
    assert len({shown("sell"), shown("sell", caller="Ann"), shown("sell", caller="Bob")}) == 3


def test_hints_of_variables_are_part_of_their_extraction() -> None:
    texts = {extraction_texts(AGENT.nodes["talk"], {"closed": day}) for day in ("Monday", "Tuesday")}
    assert len({instructions_digest(text, "") for text in texts}) == 2


def test_withheld_tools_and_instructions_make_different_digests() -> None:
    def digest(instructions: str = "", withheld: tuple[str, ...] = ()) -> str:
        return step_digest(
            after="",
            turn_id="t1",
            step=0,
            agent_id="agt_1",
            agent_version=1,
            model="demo",
            node_id="talk",
            messages=(),
            withheld=withheld,
            instructions=instructions,
        )

    assert len({digest(), digest("x"), digest("y"), digest("x", ("y",)), digest("", ("x",))}) == 5
