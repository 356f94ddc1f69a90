"""Compatibility of a suite with its agent: checks and mocks may only name its nodes, tools, arguments and variables."""

from collections.abc import Collection, Iterator, Mapping

from pydantic import JsonValue

from domain.agents.definition import AgentDefinition
from domain.agents.offered_tools import offered_tool, variables_left_by
from domain.agents.tools import ClientTool, find_tool
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
    """The requirements of a suite that its agent can never meet, found before the suite runs."""
    check = _CompatibilityCheck(agent)
    return tuple(
        issue
        for index, scenario in enumerate(suite.scenarios)
        for issue in check.issues_of(("scenarios", index), scenario)
    )


class _CompatibilityCheck:
    def __init__(self, agent: AgentDefinition) -> None:
        self._agent = agent
        self._hints = NameSuggestions()
        self._offered = {tool for node in agent.nodes.values() for tool in node.tools}
        self._transitions = {each.tool_name for node in agent.nodes.values() for each in node.transitions}
        self._offered.update([agent.pre_call_fetch] if agent.pre_call_fetch else [])

    def issues_of(self, location: Location, scenario: Scenario) -> Iterator[ValidationIssue]:
        checks = (*location, "checks")
        for index, node in enumerate(scenario.checks.must_visit):
            if node not in self._agent.nodes:
                yield self._unknown((*checks, "must_visit", index), "node", node, self._agent.nodes)
        for index, call in enumerate(scenario.checks.must_call):
            if call.tool not in self._transitions:
                yield from self._call((*checks, "must_call", index), call.tool, call.arguments)
                yield from self._mocked((*checks, "must_call", index, "tool"), call.tool, scenario)
            elif call.arguments:
                yield _issue(
                    (*checks, "must_call", index, "arguments"), f"{format_value(call.tool)} takes no arguments"
                )
        for index, mock in enumerate(scenario.mocks):
            yield from self._call((*location, "mocks", index), mock.tool, mock.arguments)
        known = self._variables(scenario)
        for name in scenario.checks.variables:
            # The tool called before the greeting may assign any variable.
            if not self._agent.pre_call_fetch and name.partition(".")[0] not in known:
                yield self._unknown((*checks, "variables", name), "variable", name, known)

    def _call(self, location: Location, called: str, arguments: Mapping[str, JsonValue]) -> Iterator[ValidationIssue]:
        """Issues of a call: the tool must be offered by a node, and have these parameters."""
        at = (*location, "tool")
        name = find_tool(self._agent.tools, called)
        if name is None:
            yield self._unknown(at, "tool", called, self._agent.tools)
            return
        if name not in self._offered:
            yield _issue(at, f"no node offers the tool {format_value(name)}, so it is never called")
        tool = self._agent.tools[name]
        offered = offered_tool(name, tool)
        if offered is not None:
            yield from self._arguments((*location, "arguments"), offered.parameters, arguments)

    def _mocked(self, location: Location, called: str, scenario: Scenario) -> Iterator[ValidationIssue]:
        """The issue of a call of a client tool without a mock: a simulated conversation has no client."""
        is_mocked = any(mock.tool == called for mock in scenario.mocks)
        if isinstance(self._agent.tools.get(called), ClientTool) and not is_mocked:
            yield _issue(
                location,
                f"the tool {format_value(called)} is carried out by the client, and a simulated conversation has none: "
                "add a mock",
            )

    def _arguments(
        self, location: Location, schema: Mapping[str, JsonValue], arguments: Mapping[str, JsonValue]
    ) -> Iterator[ValidationIssue]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return
        for name, value in arguments.items():
            parameter = properties.get(name)
            if name not in properties:
                if schema.get("additionalProperties", False) is False:
                    yield self._unknown((*location, name), "argument", name, properties)
            elif isinstance(parameter, dict) and not _matches_schema(value, parameter):
                yield _issue((*location, name), "is not allowed by the parameters of the tool")

    def _variables(self, scenario: Scenario) -> set[str]:
        """All variables that a conversation can have."""
        agent = self._agent
        extracted = {variable.name for node in agent.nodes.values() for variable in node.extract}
        left = {name for tool in agent.tools.values() for name in variables_left_by(tool)}
        return {*agent.context, *scenario.context, *extracted, *left}

    def _unknown(self, location: Location, kind: str, name: str, known: Collection[str]) -> ValidationIssue:
        return _issue(location, f"the agent has no {kind} {format_value(name)}" + self._hints.about(name, known))


def _matches_schema(value: JsonValue, schema: Mapping[str, JsonValue]) -> bool:
    """True if a value has the type, and is one of the `enum` values, of a simple schema."""
    kinds = schema.get("type")
    type_names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    allowed = [kind for name in type_names for kind in _JSON_TYPES.get(str(name), (object,))]
    is_boolean = isinstance(value, bool)
    if allowed and not (
        any(isinstance(value, kind) for kind in allowed) and (not is_boolean or {bool, object} & {*allowed})
    ):
        return False
    values = schema.get("enum")
    return value in values if isinstance(values, list) else True


def _issue(location: Location, message: str) -> ValidationIssue:
    return ValidationIssue(path=format_path(location), message=message)
