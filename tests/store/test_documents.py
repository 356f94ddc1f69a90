"""Documents: stored once for each content, searched within one organization, erased for good."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

import store.documents
from domain.agents.tools import DocumentLanguage
from store.api_keys import KeyStore
from store.database.connection import Connection, Database
from store.documents import DocumentStore, DocumentText, Passage, TooManyDocuments, query_words

ORGANIZATION, OTHER = "org_trattoria", "org_osteria"
MENU = (
    Passage("Vongole veraci with garlic, 18 euros.", "Menu > First courses", 1),
    Passage("The tables on the terrace are booked by telephone only.", "Bookings", 2),
    Passage("Dogs are welcome. Bringing a bicycle is not.", "House rules", 2),
    Passage("Wine by the glass, and bottles from Montalcino.", "Wine", 3),
)


@pytest.fixture
async def documents(database: Database) -> DocumentStore:
    for organization in (ORGANIZATION, OTHER):
        await KeyStore(database).ensure_organization(organization, "Trattoria")
    return DocumentStore(database)


def menu(digest: str = "a" * 64, passages: tuple[Passage, ...] = MENU) -> DocumentText:
    return DocumentText(digest=digest, format="pdf", bytes=1_000, pages=3, passages=passages)


async def stored(documents: DocumentStore, document: DocumentText, organization: str = ORGANIZATION) -> str:
    await documents.add(organization, document)
    await documents.name(organization, document.digest, "menu.pdf")
    return document.digest


async def found(
    documents: DocumentStore, query: str, language: DocumentLanguage = "english", digest: str = "a" * 64
) -> list[str]:
    passages = await documents.search(ORGANIZATION, [digest], query, language=language, most=3)
    return [each.passage.heading for each in passages]


async def test_best_passages_come_first_with_their_source(documents: DocumentStore) -> None:
    digest = await stored(documents, menu())
    (first, *_) = await documents.search(ORGANIZATION, [digest], "vongole prices", language="english", most=5)
    assert (first.digest, first.passage) == (digest, MENU[0])
    assert (await found(documents, "booking a table on the terrace"))[0] == "Bookings"
    assert (await found(documents, "wine"))[0] == "Wine", "a heading counts"
    assert await found(documents, "sushi") == []
    assert (
        len(await documents.search(ORGANIZATION, [digest], "euros dogs wine tables", language="english", most=2)) == 2
    )


async def test_english_finds_other_forms_of_a_word_and_other_languages_find_words_as_they_are(
    documents: DocumentStore,
) -> None:
    await stored(documents, menu())
    assert await found(documents, "bottle") == ["Wine"]
    assert await found(documents, "bottle", "other") == []
    assert await found(documents, "BOTTLES", "other") == ["Wine"]
    hindi = menu("b" * 64, (Passage("दुकान सुबह नौ बजे खुलती है।", "समय"), Passage("पार्किंग पीछे है।", "गाड़ी")))
    await stored(documents, hindi)
    assert await found(documents, "पार्किंग कहाँ", "other", "b" * 64) == ["गाड़ी"]
    assert await found(documents, "is not the", "english") == [], "stop words find nothing"


async def test_organizations_never_see_passages_of_each_other(documents: DocumentStore) -> None:
    digest = await stored(documents, menu())
    assert await documents.search(OTHER, [digest], "wine", language="english", most=5) == []
    assert await documents.find(OTHER, digest) is None
    assert await documents.named(OTHER, "menu.pdf") is None
    assert (await documents.list(OTHER, 10)).items == ()
    assert not await documents.erase(OTHER, digest)
    with pytest.raises(LookupError):
        await documents.name(OTHER, digest, "mine.pdf")
    await stored(documents, menu(), OTHER)
    assert await documents.erase(OTHER, digest)
    assert await found(documents, "wine") == ["Wine"], "each has its own copy"


async def test_content_is_stored_once_and_keeps_its_newest_names(documents: DocumentStore, database: Database) -> None:
    await asyncio.gather(*(stored(documents, menu()) for _ in range(3)))
    await documents.name(ORGANIZATION, "a" * 64, "carta.pdf")
    (only,) = (await documents.list(ORGANIZATION, 10)).items
    assert (only.names, only.passages, only.pages) == (("carta.pdf", "menu.pdf"), 4, 3)
    assert only.characters == sum(len(each.text) for each in MENU)
    await stored(documents, menu("b" * 64, MENU[:1]))
    newest = await documents.named(ORGANIZATION, "menu.pdf")
    assert newest is not None
    assert newest.sha256 == "b" * 64
    page = await documents.list(ORGANIZATION, 1)
    assert [each.sha256 for each in page.items] == ["b" * 64]
    following = await documents.list(ORGANIZATION, 1, page.next_cursor)
    assert [(each.sha256, each.names) for each in following.items] == [("a" * 64, ("carta.pdf",))]


async def test_an_erased_document_leaves_nothing_behind(documents: DocumentStore, database: Database) -> None:
    long = menu(passages=tuple(Passage(f"Course number {number}.", "Menu", 1) for number in range(250)))
    digest = await stored(documents, long)
    assert await documents.erase(ORGANIZATION, digest)
    assert not await documents.erase(ORGANIZATION, digest)
    assert await found(documents, "course") == []

    def rows(connection: Connection) -> list[int]:
        tables = ["documents", "document_names", "document_passages"]
        return [connection.scalar(text(f"SELECT count(*) FROM {each}")) or 0 for each in tables]

    assert await database.read(rows) == [0, 0, 0]
    await stored(documents, menu())
    assert await found(documents, "wine") == ["Wine"]


async def test_a_document_is_not_searched_before_all_of_it_is_there(documents: DocumentStore) -> None:
    await documents.add(ORGANIZATION, menu())
    assert await documents.find(ORGANIZATION, "a" * 64) is not None
    assert await documents.find(ORGANIZATION, "b" * 64) is None


async def test_limits_of_an_organization_leave_nothing_behind(
    documents: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.documents, "MAX_DOCUMENTS", 1)
    await stored(documents, menu())
    await stored(documents, menu())
    with pytest.raises(TooManyDocuments) as many:
        await documents.add(ORGANIZATION, menu("b" * 64))
    assert (many.value.limit, many.value.actual) == (1, 2)
    monkeypatch.setattr(store.documents, "MAX_CHARACTERS", 10)
    monkeypatch.setattr(store.documents, "MAX_DOCUMENTS", 9)
    with pytest.raises(TooManyDocuments):
        await documents.add(ORGANIZATION, menu("b" * 64))
    assert len((await documents.list(ORGANIZATION, 10)).items) == 1


OPERATORS = [
    "AND",
    "OR",
    "NOT",
    "NEAR(",
    '"',
    "'",
    "*",
    "^",
    ":",
    "-",
    "(",
    ")",
    "&",
    "|",
    "!",
    "<->",
    "\\",
    "text:",
    "\x00",
]


async def test_no_query_fails_or_is_read_as_an_operator(documents: DocumentStore) -> None:
    await stored(documents, menu())
    for operator in OPERATORS:
        assert "Wine" in await found(documents, f"{operator} wine {operator}"), operator
    queries: list[str] = []

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from([*OPERATORS, "wine", "x"])).map(" ".join)))
    def collect(query: str) -> None:
        queries.append(query)

    collect()
    for language in ("english", "other"):
        for query in queries:
            await documents.search(ORGANIZATION, ["a" * 64], query, language=language, most=3)


def test_query_words_are_few_short_and_without_operators() -> None:
    assert query_words('What are "the" prices?', "english") == ["prices"]
    assert query_words("Quali sono i prezzi?", "other") == ["quali", "sono", "i", "prezzi"]
    assert query_words("the and of", "english") == []
    assert query_words("a\x00b \ud800 c' | d", "other") == ["a", "b", "c", "d"]
    assert len(query_words(" ".join(map(str, range(100))), "other")) == store.documents.MAX_QUERY_WORDS
    assert query_words("x" * 100, "other") == ["x" * store.documents.MAX_WORD_CHARACTERS]
