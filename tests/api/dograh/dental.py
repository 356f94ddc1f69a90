"""The agent of the dograh tests: a workflow exported by dograh's editor, with three nodes."""

from tests.support.running_api import Json

GREETING = "Good morning, Larkspur Dental."
SPEECH = "Let me open the calendar."
TO_VISIT = "wants_a_visit_"
TO_GOODBYE = "day_agreed"


def dental_export(**of_start_node: object) -> Json:
    """Reception, booking, goodbye; leaving the second extracts a day. `of_start_node` adds fields to the start node."""
    return {
        "nodes": [
            _node("10", "globalNode", name="Rules", prompt="You answer for Larkspur Dental."),
            _node(
                "1",
                "startCall",
                name="Reception",
                prompt="Find out what the caller wants.",
                greeting="Good {{time_of_day | morning}}, Larkspur Dental.",
                greeting_type="text",
                allow_interrupt=True,
                **of_start_node,
            ),
            _node(
                "2",
                "agentNode",
                name="Book a visit",
                prompt="Agree on a day.",
                extraction_enabled=True,
                extraction_prompt="",
                extraction_variables=[{"name": "day", "type": "string", "prompt": "the day that was agreed on"}],
            ),
            _node("3", "endCall", name="Goodbye", prompt="Say goodbye."),
            _node("4", "webhook", name="Practice software", http_method="POST"),
        ],
        "edges": [
            _edge("1", "2", label="Wants a visit!", condition="A visit is wanted.", transition_speech=SPEECH),
            _edge("2", "3", label="Day agreed", condition="A day is agreed on."),
        ],
        "viewport": {"x": 0, "y": 0, "zoom": 1},
    }


def _node(node_id: str, kind: str, **data: object) -> Json:
    return {"id": node_id, "type": kind, "position": {"x": 0, "y": 0}, "data": data}


def _edge(source: str, target: str, **data: object) -> Json:
    return {"id": f"{source}-{target}", "source": source, "target": target, "data": data}
