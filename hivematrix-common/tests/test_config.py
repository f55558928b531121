"""A configuration is right as a whole or refused as a whole, with every fault named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hivematrix_common.conffile import drop_section, read, set_section
from hivematrix_common.config import ConfigError, home_path
from hivematrix_common.sections import normal_url


@pytest.fixture
def load(home: Path, toy_settings: Callable[..., Any]) -> Callable[..., Any]:
    kind = type(toy_settings())

    def read_again(conf: str = "", environ: dict[str, str] | None = None, dotenv: str | None = None) -> Any:
        path = home / "instance" / "toy.conf"
        if conf:
            path.write_text(conf)
        if dotenv is not None:
            (home / ".flaskenv").write_text(dotenv)
            (home / ".flaskenv").chmod(0o600)
        return kind.load(home, environ or {}, home)

    return read_again


SERVICE_KEYS = (
    "port, bind, url, trusted_proxy, threads, one_cpu, connection_limit, channel_timeout, drain_seconds, log_level,"
    " log_max_mb, log_keep, disk_warn_mb, disk_fail_mb"
)
SECTIONS = "service, database, services, billing, metrics, sessions, pages, extra"
WITHOUT_PAGES = "[pages]\nenabled = no\n"
DATABASE = WITHOUT_PAGES + "[database]\nurl = postgresql://toy:p%40s%%s@localhost/toy\n"


def faults_of(load: Callable[..., Any], *arguments: Any, **named: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **named)
    return [fault.split(": ", 1)[1] for fault in caught.value.faults]


def test_all_faults_are_told_at_once_each_with_its_key(load: Callable[..., Any]) -> None:
    faults = faults_of(
        load,
        DATABASE
        + "[service]\nport = high\ncolour = red\n[extra]\nsize = 1.5\n[nonsense]\na = 1\n"
        + "[billing]\ntimezone = Mars/Base\ncurrency = usd\n[metrics]\nenabled = maybe\n",
    )
    assert sorted(faults) == sorted(
        [
            f"[service] colour: unknown key; known are {SERVICE_KEYS}",
            f"[nonsense]: unknown section; known are {SECTIONS}",
            "[service] port: expected a whole number, got 'high'",
            "[extra] size: expected a whole number, got '1.5'",
            "[billing] timezone: expected an IANA time zone such as Europe/Berlin, got 'Mars/Base'",
            "[billing] currency: expected an ISO 4217 code such as USD, got 'usd'",
            "[metrics] enabled: expected yes or no, got 'maybe'",
        ]
    )


def test_a_missing_file_says_what_to_run(load: Callable[..., Any], home: Path) -> None:
    (home / "instance" / "toy.conf").unlink()
    assert any("run: hivematrix-helm init" in fault for fault in faults_of(load))


def test_a_conf_that_others_may_read_is_refused(load: Callable[..., Any], home: Path) -> None:
    (home / "instance" / "toy.conf").chmod(0o644)
    assert any("mode 0644" in fault for fault in faults_of(load))


def test_another_database_is_refused(load: Callable[..., Any]) -> None:
    assert "no other database is supported" in faults_of(load, "[database]\nurl = sqlite:///x\n")[0]


def test_no_database_at_all_is_refused(load: Callable[..., Any]) -> None:
    assert "[database] url" in faults_of(load, "[service]\nport = 1\n")[0]


def test_environment_wins_over_dotenv_and_dotenv_over_conf(load: Callable[..., Any]) -> None:
    conf = DATABASE + "[service]\nport = 1\n[services]\ncodex_url = http://conf\nledger_url = http://conf\n"
    dotenv = "SERVICE_PORT=2\nCODEX_URL=http://dotenv\nFLASK_APP=app\nFLASK_ENV=production\nSERVICE_NAME=toy\n"
    found = load(conf, {"HIVEMATRIX_TOY_SERVICE_PORT": "3"}, dotenv)
    assert (found.port, found.peer_url("codex"), found.peer_url("ledger")) == (3, "http://dotenv", "http://conf")


def test_a_percent_sign_is_literal(load: Callable[..., Any]) -> None:
    assert load(DATABASE).database.sqlalchemy_url == "postgresql+psycopg2://toy:p%40s%%s@localhost/toy"


def test_parts_make_an_address_whatever_the_password(load: Callable[..., Any]) -> None:
    found = load(WITHOUT_PAGES + "[database]\nhost = db\nname = n\nuser = u\npassword = p@:/%\n")
    assert found.database.sqlalchemy_url == "postgresql+psycopg2://u:p%40%3A%2F%25@db:5432/n"


def test_a_secret_may_come_from_a_file_of_its_own(load: Callable[..., Any], home: Path) -> None:
    (home / "s").write_text("hidden\n")
    (home / "s").chmod(0o600)
    conf = DATABASE + f"[extra]\nsecret_file = {home}/s\n"
    assert load(conf).extra.secret == "hidden"
    (home / "s").chmod(0o640)
    assert "mode 0640" in faults_of(load, conf)[0]


def test_only_secrets_come_from_files(load: Callable[..., Any]) -> None:
    assert "size_file: unknown key" in faults_of(load, DATABASE + "[extra]\nsize_file = /x\n")[0]


def test_unknown_variables_and_a_debugger_are_refused(load: Callable[..., Any]) -> None:
    faults = faults_of(load, DATABASE, {"HIVEMATRIX_TOY_SERVICE_PROT": "1", "FLASK_DEBUG": "1"})
    assert faults[0].startswith("FLASK_DEBUG")
    assert "HIVEMATRIX_TOY_SERVICE_PROT: unknown key" in faults[1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("SERVICE_TOKEN=your-service-secret-token", "the guide's example text"),
        ("ADMIN_TOKEN=short", "32 characters or more"),
        ("SERVICE_NAME=ledger", "expected toy"),
        ("SECRET_KEY=x", "unknown key"),
        ("what is this", "expected KEY=value"),
    ],
)
def test_bad_lines_of_the_dotenv_are_named(load: Callable[..., Any], line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(DATABASE, {}, line + "\n")


def test_a_dotenv_that_others_may_read_is_refused(load: Callable[..., Any], home: Path) -> None:
    load(DATABASE, {}, "FLASK_APP=app\n")
    (home / ".flaskenv").chmod(0o644)
    assert "mode 0644" in faults_of(load)[0]


def test_the_confs_own_token_wins_over_service_token(load: Callable[..., Any]) -> None:
    conf = DATABASE + "[services]\ncodex_token = " + "c" * 40 + "\n"
    found = load(conf, {}, "SERVICE_TOKEN=" + "s" * 40 + "\n")
    assert (found.peer_token("codex"), found.peer_token("ledger")) == ("c" * 40, "s" * 40)


def test_a_repeated_key_names_file_and_line(load: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"toy\.conf.*line"):
        load("[service]\nport = 1\nport = 2\n")


def test_faults_of_a_registered_caller_are_named(load: Callable[..., Any]) -> None:
    faults = faults_of(load, DATABASE + "[caller:x]\nscopes = codex:read all\nexpires = soon\ncolour = red\n")
    assert [fault.split(": ")[0] for fault in faults] == [
        "[caller:x] colour",
        "[caller:x] scopes",
        "[caller:x] digest",
        "[caller:x] caller",
        "[caller:x] expires",
    ]


def test_a_section_is_replaced_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("# head\n[one]\n# kept\na = 1\n\n[two]\nb = 2\n")
    set_section(path, "one", {"a": "3"})
    assert path.read_text() == "# head\n[two]\nb = 2\n\n[one]\na = 3\n"
    assert drop_section(path, "one")
    assert not drop_section(path, "one")
    assert read(path).sections() == ["two"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_value_with_a_line_break_would_make_a_section_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line break"):
        set_section(tmp_path / "a.conf", "one", {"a": "1\n[caller:evil]"})


def test_home_is_named_or_the_checkouts_own() -> None:
    assert home_path({"HIVEMATRIX_HOME": "/srv/hm"}) == Path("/srv/hm")
    assert home_path({}).name == ".hivematrix"


@pytest.mark.parametrize("url", ["postgres://a", "postgresql://a", "postgresql+psycopg2://a"])
def test_every_spelling_of_an_address_means_the_same_driver(url: str) -> None:
    assert normal_url(url) == "postgresql+psycopg2://a"


def test_pages_need_what_init_writes_and_no_secret_is_made_up(load: Callable[..., Any]) -> None:
    assert faults_of(load, DATABASE.removeprefix(WITHOUT_PAGES)) == [
        "[pages] secret_key: missing; run: hivematrix-helm init",
        "[sessions] verify_keys: missing; run: hivematrix-helm init",
    ]


def test_a_proxy_and_keys_are_checked_at_the_start(load: Callable[..., Any]) -> None:
    faults = faults_of(load, DATABASE + "[service]\ntrusted_proxy = nginx\n[sessions]\nverify_keys = AAAA\n")
    assert [fault.partition(": ")[0] for fault in faults] == ["[service] trusted_proxy", "[sessions] verify_keys"]


def test_a_token_changed_in_the_conf_is_presented_without_a_restart(load: Callable[..., Any], home: Path) -> None:
    path, settings = home / "instance" / "toy.conf", load(DATABASE)
    assert settings.peer_token("codex") == ""
    set_section(path, "services", {"codex_token": "c" * 40})
    assert settings.peer_token("codex") == "c" * 40
    set_section(path, "services", {"codex_token": "d" * 40})
    assert settings.peer_token("codex") == "d" * 40


def test_a_conf_broken_in_the_meantime_takes_nothing_away(
    load: Callable[..., Any], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, settings = home / "instance" / "toy.conf", load(DATABASE + "[services]\ncodex_token = " + "c" * 40 + "\n")
    path.write_text("[nonsense\n")
    assert settings.peer_token("codex") == "c" * 40
    assert "the configuration is broken" in caplog.text


def test_settings_made_for_one_occasion_keep_their_own_tokens(load: Callable[..., Any]) -> None:
    settings = load(DATABASE + "[services]\ncodex_token = " + "c" * 40 + "\n")
    own = replace(settings, services=replace(settings.services, codex_token="mine"))
    assert (own.peer_token("codex"), settings.peer_token("codex")) == ("mine", "c" * 40)


def test_browsers_find_the_services_by_their_public_addresses(load: Callable[..., Any]) -> None:
    near = load(DATABASE + "[services]\nhelm_url = http://127.0.0.1:15004/\n")
    assert (near.public_url("toy"), near.public_url("helm")) == ("http://127.0.0.1:5999", "http://127.0.0.1:15004")
    public = "[service]\nurl = https://b.example/toy\n[pages]\nenabled = no\nhelm_url = https://b.example/helm/\n"
    far = load(DATABASE.removeprefix(WITHOUT_PAGES) + public)
    assert (far.public_url("toy"), far.public_url("helm")) == ("https://b.example/toy", "https://b.example/helm")
    assert (far.public_url("codex"), far.peer_url("helm")) == ("http://127.0.0.1:5010", "http://127.0.0.1:5004")


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "toy.extra.secret").write_text("from systemd\n")
    (folder / "ledger.smtp.password").write_text("another service's\n")
    return folder


def test_a_credential_of_systemd_stands_for_a_secret(load: Callable[..., Any], credentials: Path) -> None:
    conf = DATABASE + "[extra]\nsecret = from the conf\n"
    given = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert load(conf, given).extra.secret == "from systemd"
    assert load(conf, given | {"HIVEMATRIX_TOY_EXTRA_SECRET": "typed"}).extra.secret == "typed"
    assert load(conf).extra.secret == "from the conf"


def test_a_credential_that_is_no_secret_is_refused(load: Callable[..., Any], credentials: Path) -> None:
    (credentials / "toy.extra.size").write_text("7")
    (credentials / "toy.nothing.here").write_text("7")
    faults = faults_of(load, DATABASE, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert faults == ["there is no secret [extra] size", "there is no secret [nothing] here"]
