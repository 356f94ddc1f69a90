"""Whether a suite fits its agent: nodes, tools, arguments and variables that checks and mocks name must be there."""

from collections.abc import Collection, Iterator, Mapping

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition
from domain.agents.tools import HttpTool, find_tool
from domain.agents.validation_errors import Location, NameSuggestions, ValidationIssue, format_path, format_value
from domain.suites.scenario import Scenario, Suite

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def compatibility_issues(suite: Suite, agent: AgentDefinition) -> tuple[ValidationIssue, ...]:
    """What a suite asks of its agent that could never be: told before the run, not by failing conversations."""
    fit = _CompatibilityCheck(agent)
    return tuple(
        issue
        for index, scenario in enumerate(suite.scenarios)
        for issue in fit.issues_of(("scenarios", index), scenario)
    )


class _CompatibilityCheck:
    def __init__(self, agent: AgentDefinition) -> None:
        self._agent = agent
        self._hints = NameSuggestions()
        self._offered = {tool for node in agent.nodes.values() for tool in node.tools}
        self._ways = {way.tool_name for node in agent.nodes.values() for way in node.transitions}
        self._offered.update([agent.pre_call_fetch] if agent.pre_call_fetch else [])

    def issues_of(self, location: Location, scenario: Scenario) -> Iterator[ValidationIssue]:
        checks = (*location, "checks")
        for index, node in enumerate(scenario.checks.must_visit):
            if node not in self._agent.nodes:
                yield self._unknown((*checks, "must_visit", index), "node", node, self._agent.nodes)
        for index, call in enumerate(scenario.checks.must_call):
            if call.tool not in self._ways:
                yield from self._call((*checks, "must_call", index), call.tool, call.arguments)
            elif call.arguments:
                yield _issue(
                    (*checks, "must_call", index, "arguments"), f"{format_value(call.tool)} takes no arguments"
                )
        for index, mock in enumerate(scenario.mocks):
            yield from self._call((*location, "mocks", index), mock.tool, mock.arguments)
        learned = self._variables(scenario)
        for name in scenario.checks.variables:
            # What is looked up before the opening may bring any variable.
            if not self._agent.pre_call_fetch and name.partition(".")[0] not in learned:
                yield self._unknown((*checks, "variables", name), "variable", name, learned)

    def _call(self, location: Location, called: str, arguments: Mapping[str, JsonValue]) -> Iterator[ValidationIssue]:
        """A call that the agent could make: a tool that some node offers, with arguments that its schema has."""
        at = (*location, "tool")
        name = find_tool(self._agent.tools, called)
        if name is None:
            yield self._unknown(at, "tool", called, self._agent.tools)
            return
        if name not in self._offered:
            yield _issue(at, f"no node offers the tool {format_value(name)}, so it is never called")
        tool = self._agent.tools[name]
        if isinstance(tool, HttpTool):
            yield from self._arguments((*location, "arguments"), tool.parameters, arguments)

    def _arguments(
        self, location: Location, schema: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]
    ) -> Iterator[ValidationIssue]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return
        for name, value in arguments.items():
            wanted = properties.get(name)
            if name not in properties:
                if schema.get("additionalProperties", False) is False:
                    yield self._unknown((*location, name), "argument", name, properties)
            elif isinstance(wanted, dict) and not _matches_schema(value, wanted):
                yield _issue((*location, name), "is a value that the tool's parameters do not allow")

    def _variables(self, scenario: Scenario) -> set[str]:
        """Every variable that a conversation can come to know."""
        agent = self._agent
        extracted = {variable.name for node in agent.nodes.values() for variable in node.extract}
        assigned = {name for tool in agent.tools.values() if isinstance(tool, HttpTool) for name in tool.assign}
        return {*agent.context, *scenario.context, *extracted, *assigned}

    def _unknown(self, location: Location, kind: str, name: str, known: Collection[str]) -> ValidationIssue:
        return _issue(location, f"the agent has no {kind} {format_value(name)}" + self._hints.about(name, known))


def _matches_schema(value: JsonValue, schema: Mapping[str, JsonValue]) -> bool:
    """Whether a value is of the type, and among the values, that a simple schema asks for."""
    kinds = schema.get("type")
    named = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    allowed = [kind for name in named for kind in _JSON_TYPES.get(str(name), (object,))]
    is_truth = isinstance(value, bool)
    if allowed and not (
        any(isinstance(value, kind) for kind in allowed) and (not is_truth or {bool, object} & {*allowed})
    ):
        return False
    values = schema.get("enum")
    return value in values if isinstance(values, list) else True


def _issue(location: Location, message: str) -> ValidationIssue:
    return ValidationIssue(path=format_path(location), message=message)
