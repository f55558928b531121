"""hivematrix-helm tokens: who may call the services."""

from typing import Any

import click
import orjson
from hivematrix_common import cli, clock
from sqlalchemy.exc import OperationalError

from hivematrix_helm.app import create_app
from hivematrix_helm.commands import initialized_home, usage_told
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import audited, token_uses, tokens
from hivematrix_helm.system import session_key


@click.group("tokens")
def group() -> None:
    """Who may call the services."""


@group.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="May be given several times.")
@click.option("--expires", metavar="TIME", help="90d from now, or an ISO instant; never when left out.")
@cli.home_option
def issue(name: str, scopes: tuple[str, ...], expires: str | None, home: str | None) -> int:
    """Register a new token with every service its scopes name, live within 2 s; stdout's last line is the token.

    Example: hivematrix-helm tokens issue reporting --scope ledger:read --expires 90d
    """
    path = initialized_home(home)
    with usage_told():
        until = tokens.end_of(expires)
        held = sum(row["caller"] == name for row in tokens.issued(path))
        given = tokens.issue(path, name, scopes, until)
    _keep(home, "tokens issue", name)
    cli.say(f"{name} may {', '.join(given.scopes)}. The token is the line on stdout, shown only now.")
    if held:
        cli.say(f"{name} had {held} before; this is one more. To take one away: hivematrix-helm tokens revoke ID")
    click.echo(given.token)
    return cli.DONE


@group.command("list")
@cli.json_option
@cli.home_option
def list_tokens(home: str | None, as_json: bool) -> int:
    """Every token the services know: id, caller, scopes, until when, and when it was last used and from where.

    Example: hivematrix-helm tokens list --json
    """
    path = initialized_home(home)
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        uses, silent = token_uses.known(settings)
    rows = tokens.issued(path, uses)
    if as_json:
        click.echo(orjson.dumps([tokens.as_json(row) for row in rows]))
    else:
        for row in rows:
            click.echo(_shown(row))
    if silent:
        cli.say(f"last use is not known of {', '.join(silent)}: no answer")
    return cli.DONE


@group.command()
@click.argument("name_or_id")
@click.option("--overlap", metavar="TIME", default=tokens.OVERLAP, help="How long the old one goes on; at most 24h.")
@cli.home_option
def rotate(name_or_id: str, overlap: str, home: str | None) -> int:
    """Put a new token in a token's place; no call fails. A service gets a new one for each peer, in its conf.

    Another caller's new token is stdout's last line, shown only now.

    Example: hivematrix-helm tokens rotate ledger --overlap 10m
    """
    path = initialized_home(home)
    with usage_told():
        done = tokens.rotate(path, name_or_id, overlap)
    _keep(home, "tokens rotate", name_or_id)
    for given in done:
        until = clock.instant_text(given.old_ends) if given.old_ends else ""
        cli.say(f"{given.caller}: a new token for {', '.join(given.scopes)}; the old one ends {until}")
        if given.token:
            click.echo(given.token)
    return cli.DONE


@group.command()
@click.argument("name_or_id")
@cli.home_option
def revoke(name_or_id: str, home: str | None) -> int:
    """Take a token, or all of a caller's, from every service; refused within 2 s.

    Example: hivematrix-helm tokens revoke reporting
    """
    gone = tokens.revoke(initialized_home(home), name_or_id)
    if not gone:
        cli.fail(f"no token of {name_or_id}; see: hivematrix-helm tokens list")
    _keep(home, "tokens revoke", name_or_id)
    click.echo("\n".join(gone))
    return cli.DONE


@group.command("rotate-session-key")
@cli.home_option
def rotate_session_key(home: str | None) -> int:
    """Sign people's sessions with a new key; nobody is signed out. Run it twice when the key may be known to others.

    The key before holds until the next rotation; after the second, whoever was signed in signs in anew.

    Example: hivematrix-helm tokens rotate-session-key
    """
    session_key.rotate(initialized_home(home))
    _keep(home, "tokens rotate-session-key", "session key")
    cli.say("Sessions are signed with a new key from now on.")
    return cli.DONE


def _keep(home: str | None, what: str, target: str) -> None:
    """Tokens are changed without a database; the audit has one."""
    with create_app(cli.load_settings(HelmSettings, home)).app_context():
        try:
            audited.command(what, target)
        except OperationalError:
            cli.say("This does not stand in the audit: the database does not answer.")


def _shown(row: dict[str, Any]) -> str:
    until = f"until {clock.instant_text(row['expires'])}" if row["expires"] else "no end"
    until += " (ends soon)" if row["ends_soon"] else ""
    used = f"used {clock.instant_text(row['used_at'])} from {row['used_from']}" if row["used_at"] else "not used"
    return f"{row['id']}  {row['caller']:20}  {until:38}  {used:48}  {' '.join(row['scopes'])}"
