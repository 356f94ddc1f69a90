"""Every form of `{{ }}` in texts for dograh, rendered as dograh does."""

from datetime import UTC, datetime

import pytest

from domain.agents.templates import TURN_STARTED_AT, render, syntax_errors, variables

# A Sunday evening in UTC, already Monday in Asia.
VALUES: dict[str, object] = {
    TURN_STARTED_AT: datetime(2026, 11, 29, 21, 15, 30, tzinfo=UTC).isoformat(),
    "name": "Asha",
    "empty": "",
    "none": None,
    "zero": 0,
    "address": {"city": "Pune", "lines": ["12 MG Road"]},
    "tags": ["a", "b"],
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{name}}", "Asha"),
        ("{{ name }}", "Asha"),
        ("{{initial_context.name}}", "Asha"),
        ("{{gathered_context.name}}", "Asha"),
        ("{{initial_context.name | fallback:there}}", "Asha"),
        ("{{initial_context.address.city}}", "Pune"),
        ("{{initial_context.nobody | fallback:there}}", "there"),
        ("{{initial_context.nobody}}", ""),
        ("{{initial_context}}", ""),
        ("{{address.city}}", "Pune"),
        ("{{address.lines.0}}", "12 MG Road"),
        ("{{address.street.name | somewhere}}", "somewhere"),
        ("{{name.first | fallback:there}}", "there"),
        ("{{empty | fallback:there}}", "there"),
        ("{{none | there}}", "there"),
        ("{{first_name | fallback}}", "First_Name"),
        ("{{a.b | fallback}}", "A.B"),
        ("{{nobody | fallback:}}", ""),
        ("{{zero | fallback:1}}", "0"),
        ("{{tags}}", '["a", "b"]'),
        ("{{current_time}}", "2026-11-29 21:15:30 UTC"),
        ("{{current_time_UTC}}", "2026-11-29 21:15:30 UTC"),
        ("{{current_time_Asia/Kolkata}}", "2026-11-30 02:45:30 IST"),
        ("{{ current_time_America/New_York }}", "2026-11-29 16:15:30 EST"),
        ("{{current_time_Etc/GMT+5}}", "2026-11-29 16:15:30 -05"),
        ("{{current_time_America/Port-au-Prince}}", "2026-11-29 16:15:30 EST"),
        ("{{current_weekday}}", "Sunday"),
        ("{{current_weekday_Asia/Kolkata}}", "Monday"),
        ("{{current_weekday}}, {{current_time_Asia/Kolkata}}", "Monday, 2026-11-30 02:45:30 IST"),
        ("{{current_time_Asia/Nowhere}}", ""),
        ("{{current_time_Asia/Nowhere | fallback:now}}", "now"),
        ("{{current_time_../../etc/passwd | fallback:now}}", "{{current_time_../../etc/passwd | fallback:now}}"),
        ('{{"a": 1}}', '{{"a": 1}}'),
        ("{{name}", "{{name}"),
        ("{name}}", "{name}}"),
        ("{{first name}}", "{{first name}}"),
        ("{{ $json.name }}", "{{ $json.name }}"),
        ("{{user@id}}", "{{user@id}}"),
        ("{{}}", "{{}}"),
        ("{{Название | x}}", "x"),
    ],
)
def test_a_template_renders(template: str, rendered: str) -> None:
    assert render(template, VALUES) == rendered


def test_a_value_called_initial_context_is_read_first() -> None:
    assert render("{{initial_context.name}}", {"initial_context": {"name": "Bo"}, "name": "Asha"}) == "Bo"


def test_the_same_turn_shows_the_same_time() -> None:
    text = "{{current_time_Europe/Rome}} {{current_weekday_Europe/Rome}}"
    assert render(text, VALUES) == render(text, dict(VALUES)) == "2026-11-29 22:15:30 CET Sunday"


def test_without_the_time_of_a_turn_a_value_of_that_name_is_shown() -> None:
    assert render("{{current_time}}", {"current_time": "noon"}) == "noon"
    assert render("{{current_time}}", {TURN_STARTED_AT: "no time"}) == ""


def test_a_time_zone_that_does_not_exist_is_an_error_of_an_authored_agent() -> None:
    assert syntax_errors("It is {{current_time_Europe/Rom}}.") == [
        'line 1, column 7: "Europe/Rom" is not a time zone; write one such as Europe/Rome'
    ]
    assert syntax_errors("It is {{current_time_Europe/Rome}}, {{current_weekday}}.") == []


def test_built_in_variables_need_no_default() -> None:
    assert [each.name for each in variables("{{current_time}} {{name}} {{current_weekday_Asia/Tokyo}}")] == ["name"]
