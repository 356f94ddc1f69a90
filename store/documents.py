"""Documents of organizations: stored once for each content, and searched by full text.

Passages are indexed by SQLite's FTS5 or PostgreSQL's text search, each in two ways: with the stems of English words,
and with words as they are.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, select, text, update
from sqlalchemy.exc import IntegrityError

from domain.agents.document_files import DocumentFormat
from domain.agents.tools import DocumentLanguage
from store.database.column_types import CleanText
from store.database.connection import Database
from store.database.pagination import Page, number_after, page_of
from store.database.tables import agent_documents, agents, document_names, document_passages, documents
from store.database.upsert import Insert, insert_new, insert_or_replace

MAX_DOCUMENTS: Final = 1_000
"""Documents of an organization."""
MAX_CHARACTERS: Final = 50_000_000
"""Characters of all documents of an organization."""
MAX_QUERY_WORDS: Final = 32
MAX_WORD_CHARACTERS: Final = 64
_BATCH_ROWS: Final = 100
"""Passages that are written in one transaction. Other writers wait for it meanwhile."""
_HEADING_WEIGHT: Final = 3.0
_STOP_WORDS_TEXT: Final = """
a an and any are as at be been but by can could did do does for from had has have how i if in is it its me my no not of
on or our she should so than that the their them then there these they this to was we were what when where which who why
will with would you your
"""
_STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document. `heading` is the path of headings above it, `page` the number of its page, if any."""

    text: str
    heading: str = ""
    page: int | None = None


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that matches a query, and the digest of its document."""

    digest: str
    passage: Passage


@dataclass(frozen=True, slots=True)
class DocumentText:
    """The text of a document, to be stored."""

    digest: str
    format: DocumentFormat
    bytes: int
    pages: int | None
    passages: tuple[Passage, ...]

    @property
    def characters(self) -> int:
        """The number of characters that are stored."""
        return sum(len(passage.text) for passage in self.passages)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document without its text. `names` are those under which it is the newest document."""

    number: int
    sha256: str
    names: tuple[str, ...]
    format: DocumentFormat
    bytes: int
    characters: int
    pages: int | None
    passages: int
    created_at: datetime


class TooManyDocuments(Exception):
    """The organization has reached a limit of its documents."""

    def __init__(self, what: str, limit: int, actual: int) -> None:
        super().__init__(f"the organization would have {actual:,} {what}; at most {limit:,} are allowed")
        self.limit = limit
        self.actual = actual


Documents = list[StoredDocument]
FoundPassages = list[FoundPassage]
Digests = list[str]
Rows = list[dict[str, object]]

_ORGANIZATION = bindparam("of_organization", type_=CleanText())
_DIGEST = bindparam("of_digest", type_=CleanText())
_OF_DOCUMENT = (documents.c.organization_id == _ORGANIZATION) & (documents.c.digest == _DIGEST)
_IS_WHOLE = documents.c.stored_at.is_not(None)
_TOTALS = select(func.count(), func.coalesce(func.sum(documents.c.characters), 0)).where(
    documents.c.organization_id == _ORGANIZATION
)
_SOME_PASSAGES = (
    select(document_passages.c.number)
    .where(document_passages.c.organization_id == _ORGANIZATION, document_passages.c.digest == _DIGEST)
    .limit(_BATCH_ROWS)
)
_DELETE_SOME = delete(document_passages).where(document_passages.c.number.in_(_SOME_PASSAGES.scalar_subquery()))
_HIDE = update(documents).where(_OF_DOCUMENT).values(stored_at=None)
_DELETE = delete(documents).where(_OF_DOCUMENT)
_FINISH = update(documents).where(_OF_DOCUMENT).values(stored_at=bindparam("now"))
_SEARCHES: Final = {
    "sqlite": """
        SELECT passage.digest, passage.heading, passage.page, passage.text
        FROM passage_words_{language} AS words JOIN document_passages AS passage ON passage.number = words.rowid
        WHERE passage_words_{language} MATCH :query AND passage.organization_id = :organization_id
        AND passage.digest IN :digests
        ORDER BY bm25(passage_words_{language}, {weight}, 1.0), passage.number LIMIT :most""",
    "postgresql": """
        SELECT passage.digest, passage.heading, passage.page, passage.text
        FROM document_passages AS passage, to_tsquery('{configuration}', :query) AS query
        WHERE passage.passage_words_{language} @@ query AND passage.organization_id = :organization_id
        AND passage.digest IN :digests
        ORDER BY ts_rank(passage.passage_words_{language}, query, 1) DESC, passage.number LIMIT :most""",
}
_CONFIGURATIONS: Final[dict[DocumentLanguage, str]] = {"english": "english", "other": "simple"}


class DocumentStore:
    """Stores the text of documents by digest, and searches it within one organization."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_document = insert_new(database, documents, key=["organization_id", "digest"])
        self._insert_name = insert_or_replace(database, document_names, key=["organization_id", "name"])
        self._insert_passages = insert_new(database, document_passages, key=["organization_id", "digest", "position"])
        dialect = "sqlite" if database.is_sqlite else "postgresql"
        self._searches = {
            language: text(
                _SEARCHES[dialect].format(language=language, configuration=configuration, weight=_HEADING_WEIGHT)
            ).bindparams(bindparam("digests", expanding=True))
            for language, configuration in _CONFIGURATIONS.items()
        }

    async def find(self, organization_id: str, digest: str) -> StoredDocument | None:
        """The document with this digest, once it is stored completely."""

        def work(connection: Connection) -> StoredDocument | None:
            return next(iter(_documents(connection, organization_id, documents.c.digest == digest)), None)

        return await self._database.read(work)

    async def named(self, organization_id: str, name: str) -> StoredDocument | None:
        """The newest document of this name."""
        newest = select(document_names.c.digest).where(
            document_names.c.organization_id == organization_id, document_names.c.name == name
        )

        def work(connection: Connection) -> StoredDocument | None:
            is_newest = documents.c.digest == newest.scalar_subquery()
            return next(iter(_documents(connection, organization_id, is_newest)), None)

        return await self._database.read(work)

    async def list(self, organization_id: str, limit: int, cursor: str | None = None) -> Page[StoredDocument]:
        """The documents of an organization, newest first. Raises ValueError for an invalid cursor."""
        before = documents.c.number < number_after(cursor) if cursor is not None else documents.c.number > 0

        def work(connection: Connection) -> Documents:
            return _documents(connection, organization_id, before, limit=limit + 1)

        return page_of(await self._database.read(work), limit, lambda document: (document.number,))

    async def name(self, organization_id: str, digest: str, name: str) -> None:
        """Make a document the newest of this name. Raises LookupError when there is no such document."""
        row = {"organization_id": organization_id, "name": name, "digest": digest, "uploaded_at": datetime.now(UTC)}

        def work(connection: Connection) -> None:
            key = _key(organization_id, digest)
            if connection.execute(select(documents.c.number).where(_OF_DOCUMENT), key).one_or_none() is None:
                raise LookupError(f"there is no document {digest}")
            connection.execute(self._insert_name, row)

        await self._database.write(work)

    async def add(self, organization_id: str, document: DocumentText) -> None:
        """Store the text of a document unless it is stored. `find` returns it once all passages are stored.

        Raises TooManyDocuments, and LookupError when the document is erased meanwhile.
        """
        await self._database.write(lambda connection: self._begin(connection, organization_id, document))
        rows: Rows = [
            {
                "organization_id": organization_id,
                "digest": document.digest,
                "position": position,
                "page": passage.page,
                "heading": passage.heading,
                "text": passage.text,
            }
            for position, passage in enumerate(document.passages)
        ]
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = rows[start : start + _BATCH_ROWS]
            await self._database.write(partial(_insert, statement=self._insert_passages, rows=batch))
        finished = {**_key(organization_id, document.digest), "now": datetime.now(UTC)}
        await self._database.write(lambda connection: connection.execute(_FINISH, finished).close())

    async def erase(self, organization_id: str, digest: str) -> bool:
        """Delete a document and its passages. Agents that search it no longer find anything in it.

        Returns False when the organization has no such document.
        """
        key = _key(organization_id, digest)
        if not await self._database.write(lambda connection: connection.execute(_HIDE, key).rowcount):
            return False
        while await self._database.write(lambda connection: connection.execute(_DELETE_SOME, key).rowcount):
            continue
        await self._database.write(lambda connection: connection.execute(_DELETE, key).close())
        return True

    async def unused(self, organization_id: str, digests: Iterable[str]) -> Digests:
        """Those of the documents that no agent of the organization searches."""
        wanted = list(digests)
        used = (
            select(agent_documents.c.digest)
            .join(agents, agents.c.id == agent_documents.c.agent_id)
            .where(agents.c.organization_id == organization_id, agent_documents.c.digest.in_(wanted))
        )
        found = set(await self._database.read(lambda connection: list(connection.scalars(used))))
        return [digest for digest in wanted if digest not in found]

    async def search(
        self, organization_id: str, digests: Sequence[str], query: str, *, language: DocumentLanguage, most: int
    ) -> FoundPassages:
        """The passages of these documents that match any word of the query, best first."""
        words = query_words(query, language)
        if not words or not digests:
            return []
        quote = '"' if self._database.is_sqlite else "'"
        joined = (" OR " if self._database.is_sqlite else " | ").join(f"{quote}{word}{quote}" for word in words)
        values = {"query": joined, "organization_id": organization_id, "digests": list(digests), "most": most}
        statement = self._searches[language]
        rows = await self._database.read(lambda connection: connection.execute(statement, values).all())
        return [
            FoundPassage(digest=row.digest, passage=Passage(text=row.text, heading=row.heading, page=row.page))
            for row in rows
        ]

    def _begin(self, connection: Connection, organization_id: str, document: DocumentText) -> None:
        values = {
            "organization_id": organization_id,
            "digest": document.digest,
            "format": document.format,
            "bytes": document.bytes,
            "characters": document.characters,
            "pages": document.pages,
            "passages": len(document.passages),
            "created_at": datetime.now(UTC),
            "stored_at": None,
        }
        connection.execute(self._insert_document, values)
        count, characters = connection.execute(_TOTALS, {"of_organization": organization_id}).one()
        if count > MAX_DOCUMENTS:
            raise TooManyDocuments("documents", MAX_DOCUMENTS, count)
        if characters > MAX_CHARACTERS:
            raise TooManyDocuments("characters of documents", MAX_CHARACTERS, int(characters))


def query_words(query: str, language: DocumentLanguage) -> list[str]:
    """The words of a query: letters, digits and combining marks only, so that no operator of a database is left.

    In English, words such as "the" are left out.
    """
    spaced = "".join(
        each if unicodedata.category(each)[0] in "LMN" else " " for each in unicodedata.normalize("NFC", query)
    )
    words = [word[:MAX_WORD_CHARACTERS] for word in dict.fromkeys(spaced.lower().split())]
    if language == "english":
        words = [word for word in words if word not in _STOP_WORDS]
    return words[:MAX_QUERY_WORDS]


def _key(organization_id: str, digest: str) -> dict[str, object]:
    return {"of_organization": organization_id, "of_digest": digest}


def _insert(connection: Connection, *, statement: Insert, rows: Sequence[dict[str, object]]) -> None:
    try:
        connection.execute(statement, rows).close()
    except IntegrityError as error:
        raise LookupError("the document was erased while it was stored") from error


def _documents(
    connection: Connection, organization_id: str, condition: ColumnElement[bool], *, limit: int = 1
) -> Documents:
    statement = (
        select(documents)
        .where(documents.c.organization_id == organization_id, _IS_WHOLE, condition)
        .order_by(documents.c.number.desc())
        .limit(limit)
    )
    rows = connection.execute(statement).all()
    names: dict[str, list[str]] = {row.digest: [] for row in rows}
    of_documents = (
        select(document_names.c.digest, document_names.c.name)
        .where(document_names.c.organization_id == organization_id, document_names.c.digest.in_(list(names)))
        .order_by(document_names.c.name)
    )
    for row in connection.execute(of_documents):
        names[row.digest].append(row.name)
    return [_document(row, names[row.digest]) for row in rows]


def _document(row: Row[*tuple[Any, ...]], names: Iterable[str]) -> StoredDocument:
    return StoredDocument(
        number=row.number,
        sha256=row.digest,
        names=tuple(names),
        format=row.format,
        bytes=row.bytes,
        characters=row.characters,
        pages=row.pages,
        passages=row.passages,
        created_at=row.created_at,
    )
