"""hivematrix-helm users: who may sign in."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import orjson
from hivematrix_common import cli
from hivematrix_common.domain.roles import ROLES

from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts

Command = TypeVar("Command", bound=Callable[..., Any])
_ROLE = click.Choice(list(ROLES))


@click.group("users")
def group() -> None:
    """Who may sign in, and as what."""


def password_options(command: Command) -> Command:
    stdin = click.option("--password-stdin", "from_stdin", is_flag=True, help="Read it from stdin's first line.")
    make = click.option("--generate", is_flag=True, help="Make one, printed on stdout; to be replaced at first use.")
    return stdin(make(command))


@group.command()
@click.argument("name")
@click.option("--role", type=_ROLE, required=True)
@click.option("--display-name", metavar="TEXT", default="", help="As others see it (default: NAME).")
@click.option("--account", metavar="NUMBER", help="A client's company.")
@password_options
@cli.home_option
def add(
    name: str, role: str, display_name: str, account: str | None, *, from_stdin: bool, generate: bool, home: str | None
) -> int:
    """A new user; the password is asked for twice. The first administrator is made like this.

    Example: hivematrix-helm users add maya --role admin --display-name "Maya Ortiz"
    """
    with _accounts(home):
        password = _password(from_stdin=from_stdin, generate=generate)
        chosen = accounts.add(name, display_name, role, account, password=password, must_change=generate)
    _tell(f"{name} may sign in as {role}", chosen, generate=generate)
    return cli.DONE


@group.command("list")
@cli.json_option
@cli.home_option
def list_users(home: str | None, as_json: bool) -> int:
    """Every user: role, company, second factor, last seen.

    Example: hivematrix-helm users list
    """
    with _accounts(home):
        rows = [accounts.as_json(person) for person in accounts.everybody()]
    if as_json:
        click.echo(orjson.dumps(rows))
        return cli.DONE
    for row in rows:
        state = "disabled" if row["disabled_at"] else "second factor" if row["second_factor"] else ""
        seen = f"seen {row['seen_at']}" if row["seen_at"] else "never signed in"
        role = f"{row['role']} {row['account_number'] or ''}".strip()
        click.echo(f"{row['name']:30}  {role:20}  {seen:26}  {state}".rstrip())
    return cli.DONE


@group.command()
@click.argument("name")
@password_options
@cli.home_option
def passwd(name: str, *, from_stdin: bool, generate: bool, home: str | None) -> int:
    """Another password; the user is signed out everywhere.

    Example: hivematrix-helm users passwd maya --generate
    """
    with _accounts(home):
        accounts.named(name)
        password = _password(from_stdin=from_stdin, generate=generate)
        chosen = accounts.set_password(name, password, must_change=generate)
    _tell(f"{name} has another password", chosen, generate=generate)
    return cli.DONE


@group.command()
@click.argument("name")
@click.argument("role", type=_ROLE)
@click.option("--account", metavar="NUMBER", help="A client's company.")
@cli.home_option
def role(name: str, role: str, account: str | None, home: str | None) -> int:
    """Another role; the user is signed out everywhere.

    Example: hivematrix-helm users role maya billing
    """
    with _accounts(home):
        accounts.change_role(name, role, account)
    cli.say(f"{name} is {role} now")
    return cli.DONE


@group.command()
@click.argument("name")
@cli.home_option
def disable(name: str, home: str | None) -> int:
    """Keep a user out; within 5 s they are signed out everywhere.

    Example: hivematrix-helm users disable maya
    """
    return _change(accounts.disable, name, home, "is disabled")


@group.command()
@click.argument("name")
@cli.home_option
def enable(name: str, home: str | None) -> int:
    """Let a disabled user in again.

    Example: hivematrix-helm users enable maya
    """
    return _change(accounts.enable, name, home, "may sign in again")


@group.command("sign-out")
@click.argument("name")
@cli.home_option
def sign_out(name: str, home: str | None) -> int:
    """End all sessions of a user, within 5 s.

    Example: hivematrix-helm users sign-out maya
    """
    return _change(accounts.sign_out, name, home, "is signed out everywhere")


@group.command("second-factor-off")
@click.argument("name")
@cli.home_option
def second_factor_off(name: str, home: str | None) -> int:
    """For whoever lost both the device and the recovery codes.

    Example: hivematrix-helm users second-factor-off maya
    """
    return _change(accounts.second_factor_off, name, home, "has no second factor any more")


def _change(act: Callable[[str], None], name: str, home: str | None, done: str) -> int:
    with _accounts(home):
        act(name)
    cli.say(f"{name} {done}")
    return cli.DONE


@contextmanager
def _accounts(home: str | None) -> Iterator[None]:
    with create_app(cli.load_settings(HelmSettings, home)).app_context():
        yield


def _password(*, from_stdin: bool, generate: bool) -> str | None:
    """None: one is to be generated."""
    if from_stdin and generate:
        raise click.UsageError("--password-stdin and --generate exclude each other")
    if generate:
        return None
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True))


def _tell(done: str, password: str, *, generate: bool) -> None:
    if generate:
        cli.say(f"{done}. The password is the line on stdout, shown only now; its owner replaces it at first use.")
        click.echo(password)
    else:
        cli.say(done)
