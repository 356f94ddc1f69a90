"""`playhead orgs`: prices and spending limits of organizations, directly in the store."""

import sys
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.database import run_on_store
from playhead.exit_codes import USAGE, CommandFailed

app = typer.Typer(help="Show and set prices and spending limits of organizations.", no_args_is_help=True)


@app.command("ls")
def list_organizations(json: AsJson = False) -> None:
    """List organizations, with their spending of this month (UTC)."""
    from datetime import UTC, datetime

    from rich.markup import escape

    from playhead.output.tables import print_json, table
    from store.organizations import OrganizationStore

    month = datetime.now(UTC).date()
    found = run_on_store(lambda database: OrganizationStore(database).list(month))
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "price_per_second": _plain(each.terms.price_per_second),
            "monthly_limit": _plain(each.terms.monthly_limit),
            "spent_this_month": _plain(each.terms.spent),
        }
        for each in found
    ]
    if json:
        print_json(rows)
    else:
        columns = ("ID", "NAME", "USD PER SECOND", "MONTHLY LIMIT (USD)", f"SPENT IN {month:%Y-%m}")
        table(
            columns,
            (tuple(escape(value or "none") for value in row.values()) for row in rows),
            empty="No organizations. The first key of an organization creates it: playhead keys create NAME",
        )


@app.command("set")
def set_terms(
    organization: Annotated[str, typer.Argument(help="Id of the organization (`playhead orgs ls`).")],
    price_per_second: Annotated[
        str | None, typer.Option(metavar="USD|none", help="Price of a second of model time, for new sessions.")
    ] = None,
    monthly_limit: Annotated[
        str | None, typer.Option(metavar="USD|none", help="Spending limit per calendar month (UTC).")
    ] = None,
) -> None:
    """Set an organization's price per second and its monthly limit; omitted options stay as they are."""
    from store.organizations import NewTerms, OrganizationStore

    terms = NewTerms()
    if price_per_second is not None:
        terms["price_per_second"] = _dollars(price_per_second, "--price-per-second")
    if monthly_limit is not None:
        terms["monthly_limit"] = _dollars(monthly_limit, "--monthly-limit")
    if not terms:
        raise CommandFailed("Nothing to set: give --price-per-second, --monthly-limit or both.", status=USAGE)
    try:
        known = run_on_store(lambda database: OrganizationStore(database).set_terms(organization, terms))
    except ValueError as error:
        raise CommandFailed(f"The amount cannot be set: {error}.", status=USAGE) from error
    if not known:
        raise CommandFailed(
            f"There is no organization {organization}.",
            status=USAGE,
            hint="`playhead orgs ls` lists them. The first key of one creates it: playhead keys create NAME",
        )
    sys.stdout.write(f"Organization {organization} is set. Limits apply within a second, prices to new sessions.\n")


def _dollars(written: str, option: str) -> Decimal | None:
    if written == "none":
        return None
    try:
        return Decimal(written)
    except InvalidOperation as error:
        raise CommandFailed(
            f"{option} must be an amount in US dollars, such as 0.002, or none; not {written!r}.", status=USAGE
        ) from error


def _plain(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    return f"{amount.normalize():f}" if amount else "0"
