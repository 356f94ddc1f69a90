"""`playhead orgs`: what organizations pay and may spend, seen and set at the store itself."""

import sys
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from playhead.cli.agents import AsJson
from playhead.cli.database import at_store
from playhead.exit_codes import USAGE, CommandFailed

app = typer.Typer(help="See and set what organizations pay and may spend.", no_args_is_help=True)


@app.command("ls")
def list_organizations(json: AsJson = False) -> None:
    """List the organizations, with what they have spent this month (UTC)."""
    from datetime import UTC, datetime

    from rich.markup import escape

    from playhead.output.tables import print_json, table
    from store.organizations import OrganizationStore

    month = datetime.now(UTC).date()
    found = at_store(lambda database: OrganizationStore(database).list(month))
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
        columns = ("ID", "NAME", "USD A SECOND", "USD A MONTH AT MOST", f"SPENT IN {month:%Y-%m}")
        table(
            columns,
            (tuple(escape(value or "none") for value in row.values()) for row in rows),
            empty="There are no organizations. One is made with its first key: playhead keys create NAME",
        )


@app.command("set")
def set_terms(
    organization: Annotated[str, typer.Argument(help="Id of the organization (`playhead orgs ls`).")],
    price_per_second: Annotated[
        str | None, typer.Option(metavar="USD|none", help="For a second of a model's work, in sessions opened later.")
    ] = None,
    monthly_limit: Annotated[
        str | None, typer.Option(metavar="USD|none", help="What may be spent in a calendar month (UTC).")
    ] = None,
) -> None:
    """Set an organization's price per second and its monthly limit; what is not named stays as it is."""
    from store.organizations import NewTerms, OrganizationStore

    terms = NewTerms()
    if price_per_second is not None:
        terms["price_per_second"] = _dollars(price_per_second, "--price-per-second")
    if monthly_limit is not None:
        terms["monthly_limit"] = _dollars(monthly_limit, "--monthly-limit")
    if not terms:
        raise CommandFailed("Nothing to set: name --price-per-second, --monthly-limit or both.", status=USAGE)
    try:
        known = at_store(lambda database: OrganizationStore(database).set_terms(organization, terms))
    except ValueError as error:
        raise CommandFailed(f"The amount cannot be set: {error}.", status=USAGE) from error
    if not known:
        raise CommandFailed(
            f"There is no organization {organization}.",
            status=USAGE,
            hint="`playhead orgs ls` lists them. One is made with its first key: playhead keys create NAME",
        )
    sys.stdout.write(f"Organization {organization} is set. Limits hold within a second, prices for new sessions.\n")


def _dollars(written: str, option: str) -> Decimal | None:
    if written == "none":
        return None
    try:
        return Decimal(written)
    except InvalidOperation as error:
        raise CommandFailed(
            f"{option} is an amount in US dollars, such as 0.002, or none; not {written!r}.", status=USAGE
        ) from error


def _plain(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    return f"{amount.normalize():f}" if amount else "0"
