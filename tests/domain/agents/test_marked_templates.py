"""Rendered templates with the places of their variables."""

from domain.agents.templates import Insertion, render, render_marked

VALUES = {"name": "Ada", "empty": "", "table": {"number": 12}}


def test_the_marked_text_is_the_rendered_text() -> None:
    template = "Dear {{name}}, {{empty | friend}} at {{table.number}}: {{not valid!}} {{missing}}{{table}}."
    text, insertions = render_marked(template, VALUES)
    assert text == render(template, VALUES)
    assert [(text[each.start : each.end], each.name, each.is_fallback) for each in insertions] == [
        ("Ada", "name", False),
        ("friend", "empty", True),
        ("12", "table.number", False),
        ("", "missing", True),
        ('{"number": 12}', "table", False),
    ]


def test_a_text_without_variables_has_no_marks() -> None:
    assert render_marked("Plain.", VALUES) == ("Plain.", ())
    assert render_marked("{{name}}", VALUES) == ("Ada", (Insertion(0, 3, "name", is_fallback=False),))
