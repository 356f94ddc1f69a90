"""`playhead documents`: upload, list and erase documents that agents search."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from playhead.cli.agents import AsJson

app = typer.Typer(help="Upload, list and erase documents that agents search.", no_args_is_help=True)


@app.command()
def push(
    files: Annotated[
        list[Path], typer.Argument(help="Markdown, text, HTML or PDF.", exists=True, dir_okay=False, readable=True)
    ],
    json: AsJson = False,
) -> None:
    """Upload documents under the names of their files. Agents that are stored later find them by name."""
    from playhead.cli.agent_documents import read_document
    from playhead.cli.api_client import api_client
    from playhead.output.tables import print_json

    with api_client() as api:
        stored = []
        for file in files:
            document = api.documents.upload(file.name, read_document(file))
            stored.append(document)
            if not json:
                sys.stdout.write(f"{file.name}: {document.passages} passages ({document.sha256})\n")
    if json:
        print_json(stored)


@app.command("ls")
def list_documents(
    limit: Annotated[int | None, typer.Option(help="At most this many.", min=1)] = None, json: AsJson = False
) -> None:
    """List documents, newest first."""
    from playhead.cli.api_client import api_client
    from playhead.output.tables import in_line, moment, print_json, table

    with api_client() as api:
        documents = list(api.documents.list(limit=limit))
    if json:
        print_json(documents)
    else:
        columns = ("NAMES", "FORMAT", "PASSAGES", "SHA256", "STORED (UTC)")
        rows = (
            (in_line(", ".join(each.names)), each.format, str(each.passages), each.sha256, moment(each.created_at))
            for each in documents
        )
        table(columns, rows, empty="No documents. Upload one: playhead documents push FILE")


@app.command("rm")
def erase(
    documents: Annotated[list[str], typer.Argument(metavar="SHA256...", help="SHA-256 of each document.")],
) -> None:
    """Erase documents. Agents that search them stay, and find nothing in them any more."""
    from playhead.cli.api_client import api_client

    with api_client() as api:
        for sha256 in documents:
            api.documents.erase(sha256)
