"""The text of files: sections with headings and pages, and passages that end where sentences do."""

import pytest

import api.documents.extraction
from api.documents.extraction import UnreadableDocument, sections_of
from api.documents.passages import MAX_HEADING_CHARACTERS, MAX_PASSAGE_CHARACTERS, Section, passages_of
from domain.agents.document_files import DocumentFormat, document_format, file_name_error
from tests.support.pdf_files import pdf

MARKDOWN = """Before.

# Menu
Some words.

## First courses ##
Vongole.

```
# no heading
```

Opening hours
-------------
Nine to five.

- a list
---

# Contact
By telephone.
"""
PAGE = """<!doctype html><html><head><title>Hidden</title><style>p {}</style><body>
<nav>Home</nav><h1>Menu &amp; <em>wine</em></h1><p>Some<br>words.<script>alert("x")</script>
<h3>First courses</h3><ul><li>Vongole<li>Cacio&nbsp;e pepe</ul><table><tr><td>one<td>two</table>
<h1>Contact</h1><p>By telephone."""


def read(content: bytes | str, format: DocumentFormat) -> list[tuple[str, str]]:
    data = content.encode() if isinstance(content, str) else content
    found = [section for section in sections_of(data, format) if section.text.strip()]
    return [(section.heading, section.text.strip()) for section in found]


def reason(content: bytes, format: DocumentFormat) -> str:
    with pytest.raises(UnreadableDocument) as error:
        list(sections_of(content, format))
    return error.value.reason


def test_markdown_is_divided_by_its_headings() -> None:
    assert read(MARKDOWN, "markdown") == [
        ("", "Before."),
        ("Menu", "Some words."),
        ("Menu > First courses", "Vongole.\n\n```\n# no heading\n```"),
        ("Menu > Opening hours", "Nine to five.\n\n- a list\n---"),
        ("Contact", "By telephone."),
    ]


def test_html_is_read_as_people_see_it() -> None:
    assert read(PAGE, "html") == [
        ("", "Home"),
        ("Menu & wine", "Some\nwords."),
        ("Menu & wine > First courses", "- Vongole\n\n- Cacio e pepe\n\n| one | two"),
        ("Contact", "By telephone."),
    ]
    western = '<meta charset="iso-8859-2"><p>\xb1'.encode("latin-1")
    assert read(western, "html") == [("", "\u0105")]
    assert read(b'<meta charset="zip"><p>\xe9', "html") == [("", "\xe9")], "no encoding of text"


def test_pages_of_a_pdf_are_numbered() -> None:
    pages = list(sections_of(pdf("Vongole, 18 euros.", "", "By telephone."), "pdf"))
    assert [(page.page, page.text) for page in pages] == [(1, "Vongole, 18 euros."), (2, ""), (3, "By telephone.")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_its_encoding(encoding: str) -> None:
    assert read("Caf\xe9, 2 \u20ac.".encode(encoding), "text") == [("", "Caf\xe9, 2 \u20ac.")]


def test_unreadable_files_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(b"PK\x03\x04\x00\x00\xff", "text") == "unreadable"
    assert reason(b"no pdf", "pdf") == "unreadable"
    assert reason(pdf("x")[:200], "pdf") == "unreadable"
    monkeypatch.setattr(api.documents.extraction, "MAX_PAGES", 2)
    assert reason(pdf("a", "b", "c"), "pdf") == "too_long"
    monkeypatch.setattr(api.documents.extraction, "MAX_CHARACTERS", 10)
    assert reason(b"eleven char", "text") == "too_long"


def test_passages_are_whole_paragraphs_and_longer_ones_are_divided_after_sentences() -> None:
    short = "A short paragraph."
    assert list(passages_of(Section(f"{short}\n\n\n{short}"))) == [f"{short}\n\n{short}"]
    sentence = "This sentence has exactly fifty characters in it, ok. "
    passages = list(passages_of(Section(f"{short}\n \n{sentence * 60}")))
    assert all(len(each) <= MAX_PASSAGE_CHARACTERS for each in passages)
    assert all(each.endswith(".") for each in passages)
    assert " ".join(passages).replace("\n\n", " ").split() == f"{short} {sentence * 60}".split()
    endless = list(passages_of(Section("x" * 3_000)))
    assert [len(each) for each in endless] == [1_200, 1_200, 600]
    assert len(Section("", ("a" * 150, "b" * 150)).heading) == MAX_HEADING_CHARACTERS


@pytest.mark.parametrize("name", ["faq.md", "docs/faq.MARKDOWN", "a b.txt", "menu.pdf", "x.htm"])
def test_relative_file_names_are_accepted(name: str) -> None:
    assert file_name_error(name) is None
    assert document_format(name) is not None


@pytest.mark.parametrize(
    "name", ["", " ", "faq", "faq.exe", "../faq.md", "/etc/faq.md", "a//b.md", "a\\b.md", "./a.md", "a\n.md", "x" * 200]
)
def test_other_file_names_are_rejected(name: str) -> None:
    assert file_name_error(name) is not None
