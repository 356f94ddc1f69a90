"""Any agent moves to dograh's form and back without a change."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.agents.definition import AgentDefinition, parse_definition
from domain.dograh.export_format import START_TYPE
from domain.dograh.exporter import OWN_COPY, export_dograh
from domain.dograh.importer import import_dograh

Data = dict[str, Any]

TEXTS = st.sampled_from(
    [
        "Talk.",
        "Grüß Gott, {{name | guest}}.",
        "  two\nlines  ",
        "{{context.a-b}} {{current_time_Europe/Rome}}",
        "RECORDING_ID: welcome\nHello.",
        "RECORDING_ID: welcome",
        "Quotes \" and ' and \\ and 😀",
    ]
) | st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}"), min_size=1, max_size=30).filter(
    lambda text: bool(text.strip())
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=5,
)
TOOLS: dict[str, st.SearchStrategy[Data]] = {
    "find": st.fixed_dictionaries(
        {
            "kind": st.just("http"),
            "description": TEXTS,
            "url": st.sampled_from(["https://a.example", "https://a.example/{{a}}"]),
        },
        optional={
            "method": st.sampled_from(["POST", "PUT", "PATCH"]),
            "body": VALUES,
            "assign": st.just({"table": "tables.0"}),
            "retries": st.integers(0, 3),
        },
    ),
    "crm": st.fixed_dictionaries(
        {"kind": st.just("mcp"), "url": st.just("https://crm.example/mcp")}, optional={"allow": st.just(["find"])}
    ),
    "bye": st.fixed_dictionaries(
        {"kind": st.just("builtin"), "action": st.just("end_session")},
        optional={"say": TEXTS, "reason": st.just("Why.")},
    ),
    "person": st.fixed_dictionaries({"kind": st.just("builtin"), "action": st.just("hand_over"), "to": st.just("+39")}),
    "sum": st.fixed_dictionaries(
        {"kind": st.just("builtin"), "action": st.sampled_from(["calculate", "current_time"])}
    ),
}
NAMES = ["desk", "booking", "goodbye", "lounge"]


@st.composite
def agents(draw: st.DrawFn) -> AgentDefinition:
    """An agent of up to four nodes in a chain, with a loop back where it is drawn."""
    names = NAMES[: draw(st.integers(1, 4))]
    tools = {name: draw(tool) for name, tool in TOOLS.items() if draw(st.booleans())}
    nodes: dict[str, Data] = {}
    for index, name in enumerate(names):
        node: Data = {
            "prompt": draw(TEXTS),
            "tools": draw(st.lists(st.sampled_from(list(tools)), unique=True)) if tools else [],
        }
        if draw(st.booleans()):
            node["greeting"] = draw(TEXTS)
        if draw(st.booleans()):
            node["extract"] = [
                {"name": "day", "type": draw(st.sampled_from(["string", "number", "boolean"])), "hint": draw(TEXTS)}
            ]
            node["extract_prompt"] = draw(TEXTS)
        node["use_global_prompt"] = draw(st.booleans())
        followers = [names[index + 1]] if index + 1 < len(names) else []
        leads_back = draw(st.booleans())
        if followers and leads_back:
            followers.append(names[draw(st.integers(0, index))])
        node["transitions"] = [
            {
                "name": f"to_{each}_{number}",
                "when": draw(TEXTS),
                "to": each,
                **({"say": draw(TEXTS)} if draw(st.booleans()) else {}),
            }
            for number, each in enumerate(followers)
        ]
        node["end"] = not followers and draw(st.booleans())
        nodes[name] = node
    definition: Data = {
        "name": draw(TEXTS),
        "start": names[0],
        "nodes": nodes,
        "tools": tools,
        "context": draw(st.dictionaries(st.sampled_from(["a", "name", "x-1"]), VALUES, max_size=3)),
        "limits": {"inactivity_seconds": draw(st.integers(5, 10_000)), "max_turns": draw(st.integers(1, 900))},
    }
    if draw(st.booleans()):
        definition["prompt"] = draw(TEXTS)
    if draw(st.booleans()):
        definition["model"] = "openai:gpt-5-mini"
    if draw(st.booleans()):
        definition["webhook"] = {"url": "https://a.example/hook", "secret": "HOOK"}
    if "find" in tools and draw(st.booleans()):
        definition["pre_call_fetch"] = "find"
    return parse_definition(definition)


@given(agents())
@settings(deadline=None)
def test_an_export_gives_the_same_agent(agent: AgentDefinition) -> None:
    file = json.loads(json.dumps(export_dograh(agent)))
    imported = import_dograh(file)
    assert imported.definition == agent
    assert imported.warnings == ()


@given(agents())
@settings(deadline=None)
def test_the_graph_alone_gives_the_same_conversation(agent: AgentDefinition) -> None:
    file = {name: value for name, value in json.loads(json.dumps(export_dograh(agent))).items() if name != OWN_COPY}
    moved = import_dograh(file).definition
    assert (moved.prompt, moved.context) == (agent.prompt, agent.context)
    assert moved.limits.inactivity_seconds == agent.limits.inactivity_seconds
    assert len(moved.nodes) == len(agent.nodes)
    for (name, before), after in zip(agent.nodes.items(), moved.nodes.values(), strict=True):
        assert (before.prompt, before.greeting, before.extract) == (after.prompt, after.greeting, after.extract)
        assert before.extract_prompt == after.extract_prompt
        assert before.use_global_prompt == after.use_global_prompt
        assert after.end == (before.end and name != agent.start), "a start node there never ends a call"
        assert [(each.name, each.when, each.say) for each in before.transitions] == [
            (each.name, each.when, each.say) for each in after.transitions
        ]


@given(agents(), st.sampled_from(["Changed.", "Other words."]))
@settings(deadline=None, max_examples=25)
def test_a_change_in_dograh_s_editor_is_imported(agent: AgentDefinition, prompt: str) -> None:
    file = json.loads(json.dumps(export_dograh(agent)))
    (start,) = [node for node in file["workflow_definition"]["nodes"] if node["type"] == START_TYPE]
    start["data"]["prompt"] = prompt
    changed = import_dograh(file).definition
    assert changed.nodes[changed.start].prompt == prompt
