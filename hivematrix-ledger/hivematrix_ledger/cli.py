"""hivematrix-ledger: serve, init-db, import, bill, close --preview, correct, lost, history."""

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NoReturn

import click
import orjson
from hivematrix_common import cells, cli
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.importing import Source
from hivematrix_common.imports import Imported, import_command
from hivematrix_common.sections import normal_url
from rich.console import Console
from rich.table import Table

from hivematrix_ledger.app import create_app
from hivematrix_ledger.config import LedgerSettings
from hivematrix_ledger.domain.corrections import MODES, Order
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.services import Ledger, bills, board, corrections, history, no_bill, reopening
from hivematrix_ledger.services.imports import import_files

group = cli.service_group(LedgerSettings, create_app, "Ledger: plans applied, bills that explain themselves.")


class AccountType(click.ParamType[str]):
    name = "account"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return cells.account_number(value)
        except DomainError as error:
            self.fail(str(error), param, ctx)


class PeriodType(click.ParamType[Period]):
    name = "YYYY-MM"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Period:
        try:
            return value if isinstance(value, Period) else Period.parse(value)
        except DomainError as error:
            self.fail(str(error), param, ctx)


def _import(settings: LedgerSettings, sources: Sequence[Source], partial: bool) -> Imported:
    with _ledger(settings) as ledger:
        return import_files(ledger, sources, partial=partial)


group.add_command(
    import_command(
        LedgerSettings,
        _import,
        "Import Ledger's files (CSV or JSON lines) out of DIR in one transaction; twice is once.\n\n"
        "A file states an account's rows whole: --partial leaves out all of an account that has a bad row in it.",
    )
)


@group.command()
@click.argument("account", type=AccountType())
@click.argument("period", type=PeriodType())
@cli.json_option
@cli.home_option
def bill(account: str, period: Period, as_json: bool, home: str | None) -> int:
    """Show a company's bill: the sealed one, or what it would be now. Exits 1 when it has none.

    Example: hivematrix-ledger bill 620547 2025-10
    """
    with _ledger(cli.load_settings(LedgerSettings, home)) as ledger:
        shown = bills.show(ledger, account, period)
    if isinstance(shown, NoBill):
        click.echo(orjson.dumps(no_bill(shown)) if as_json else f"{account}: {shown.status}, {shown.reason}")
        return cli.FAILED
    if as_json:
        click.echo(shown.data)
    else:
        _print_bill(shown.body, shown.digest, is_accepted=shown.is_accepted)
    return cli.DONE


@group.command()
@click.argument("period", type=PeriodType())
@click.option("--preview", is_flag=True, help="Required: Ledger shows, the archive's job closes.")
@cli.json_option
@cli.home_option
def close(period: Period, preview: bool, as_json: bool, home: str | None) -> int:
    """List what closing a month would seal: each company with its total, or why it gets no bill.

    Example: hivematrix-ledger close 2025-10 --preview
    """
    if not preview:
        raise click.UsageError("add --preview, or close the month with: hivematrix-archive snapshot")
    with _ledger(cli.load_settings(LedgerSettings, home)) as ledger, cli.bar("preview", as_json) as advance:
        found = board.board(ledger, period, advance)
    for row in found["companies"]:
        click.echo(orjson.dumps(row) if as_json else _row_text(row))
    if not as_json:
        _print_totals(found)
    return cli.DONE


def _row_text(row: dict[str, Any]) -> str:
    if row["totals"] is None:
        return f"{row['account_number']}  {row['state']}: {row['reason']}"
    told = f"{row['findings']} findings" if row["state"] == "findings" else row["state"]
    state = "" if told == "open" else f"  ({told})"
    name = cells.shown(row["company_name"], 200)
    return f"{row['invoice_number']}  {row['totals']['total']:>14} {row['currency']}  {name}{state}"


def _print_totals(found: dict[str, Any]) -> None:
    states = ", ".join(f"{number} {state}" for state, number in found["states"].items() if number)
    click.echo(f"companies: {states or 'none'}")
    for total in found["totals"]:
        kinds = ", ".join(f"{kind} {total[kind]}" for kind in board.KINDS if kind != "total" and Decimal(total[kind]))
        click.echo(f"total: {total['total']} {total['currency']} ({kinds or 'nothing'})")
        change = f", {total['mrr_change']} against the month before" if total["mrr_change"] is not None else ""
        click.echo(f"recurring: {total['mrr']} {total['currency']}{change}")


def _print_bill(body: dict[str, Any], digest: str, *, is_accepted: bool) -> None:
    console = Console(file=sys.stdout)
    state = "sealed" if is_accepted else "preview"
    console.print(f"{body['invoice_number']}  {body['company_name']}  {body['period']}  ({state})", markup=False)
    console.print(f"{body['billing_plan']}, {body['contract_term']}, plan of {body['plan_version']}", markup=False)
    table = Table("Line", "Kind", "Description", box=None, header_style="bold")
    for name in ("Quantity", "Rate", "Amount"):
        table.add_column(name, justify="right")
    table.add_column("Why")
    for at, line in enumerate(body["lines"]):
        why = f"{line['why']['formula']} ({line['why']['source']})"
        cells = (str(at), line["kind"], line["description"], line["quantity"], line["rate"], line["amount"], why)
        table.add_row(*map(_plain, cells))
    console.print(table)
    console.print(f"total {body['totals']['total']} {body['currency']}, due {body['due_date']}", markup=False)
    console.print(digest, markup=False)


def _plain(text: str) -> str:
    # Names are a stranger's text: no markup, no line breaks.
    return text.replace("[", r"\[") if text.isprintable() else repr(text)


@group.command()
@click.argument("account", type=AccountType())
@click.argument("period", type=PeriodType())
@click.option("--mode", type=click.Choice(MODES), required=True, help="credit lines, or replace the whole invoice.")
@click.option("--reason", required=True, help="Why; it stands on the documents, which the customer sees.")
@click.option("--line", "lines", type=click.IntRange(0), multiple=True, help="With credit: only these, as bill counts.")
@cli.json_option
@cli.home_option
def correct(account: str, period: Period, as_json: bool, home: str | None, **order: Any) -> int:
    """Correct a sealed invoice by a credit note, or by a credit note and a new invoice. Nothing sealed is changed.

    Example: hivematrix-ledger correct 620547 2025-10 --mode credit --reason "billed twice" --line 3
    """
    lines: tuple[int, ...] | None = order.pop("lines") or None
    if lines and order["mode"] == "replace":
        raise click.UsageError("--line goes with --mode credit; a replacement credits all that is left")
    if not order["reason"].strip():
        raise click.UsageError("--reason: expected words")
    with _ledger(cli.load_settings(LedgerSettings, home)) as ledger:
        asked = corrections.Asked(account, period, Order(**order, lines=lines), getpass.getuser())
        made = corrections.correct_unkeyed(ledger, asked)
    click.echo(orjson.dumps(made.as_json()) if as_json else made.message)
    return cli.DONE


@group.command("lost")
@click.option("--reopen", is_flag=True, help="Take them off Ledger's record, so that they are billed and sealed anew.")
@click.option("--reason", help="With --reopen: why; it is in the audit.")
@cli.json_option
@cli.home_option
def list_lost(home: str | None, reason: str | None, *, as_json: bool, reopen: bool) -> int:
    """List accepted months that the archive lacks, after it was restored and adopted. Exit 1 while there are any.

    --reopen needs the owner's connection. What the archive does hold of such a month is recorded again.
    Example: hivematrix-ledger lost --reopen --reason "disk lost on 3 May, restored from the night before"
    """
    if reopen and not (reason or "").strip():
        raise click.UsageError("--reason: --reopen asks for words")
    settings = cli.load_settings(LedgerSettings, home)
    owner_url = normal_url(cli.owner_url(settings.home, "ledger")) if reopen else None
    with _ledger(settings) as ledger:
        found = reopening.lost(ledger)
        if owner_url and found:
            reopening.reopen(ledger, owner_url, found, str(reason), f"{getpass.getuser()} at the command line")
    for one in found:
        click.echo(orjson.dumps(one.as_json()) if as_json else f"{one.period}  {', '.join(one.invoices)}")
    cli.say(f"{len(found)} months {'reopened; close them again' if reopen else 'lost'}" if found else "nothing is lost")
    return cli.FAILED if found and not reopen else cli.DONE


@group.command("history")
@click.argument("account", type=AccountType())
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The newest first.")
@cli.json_option
@cli.home_option
def show_history(account: str, limit: int, as_json: bool, home: str | None) -> int:
    """List who changed which of a company's overrides and items, when, from what to what.

    Example: hivematrix-ledger history 620547
    """
    with _ledger(cli.load_settings(LedgerSettings, home)):
        found = history.page(account, None, None, limit, internal=True)["changes"]
    for change in found:
        words = history.told(change["before"], change["after"])
        text = f"{change['at']}  {change['actor']}  {change['rule']}  {words}  ({change['action']})"
        click.echo(orjson.dumps(change) if as_json else cells.shown(text, 1000))
    return cli.DONE


@contextmanager
def _ledger(settings: LedgerSettings) -> Iterator[Ledger]:
    with create_app(settings).app_context():
        yield Ledger.of(settings)


def main(arguments: list[str] | None = None) -> NoReturn:
    cli.run(group, arguments)
