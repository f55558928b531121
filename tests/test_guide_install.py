"""scripts/install on a Debian machine of its own: what a step leaves there; that repeating it changes nothing."""

import configparser
import json

import pytest
from debian import HOME, INSTALL_OPTIONS, Debian, Installed

pytestmark = pytest.mark.mesh
SERVICES = ("codex", "ledger", "archive", "helm")
UNITS = {
    "codex.service",
    "ledger.service",
    "archive.service",
    "helm.service",
    "hivematrix.target",
    "archive-snapshot.timer",
    "hivematrix-backup.timer",
    "hivematrix-drill.timer",
}
OUTSIDE = "curl -sk --resolve billing.example.com:443:127.0.0.1 --resolve billing.example.com:80:127.0.0.1"


@pytest.fixture(scope="module")
def again(installed: Installed) -> str:
    """What a second run says, after the guide was walked through."""
    return installed.debian.shell(f"{HOME}/scripts/install")


@pytest.fixture
def debian(installed: Installed, again: str) -> Debian:
    return installed.debian


def done(said: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in said.splitlines() if line.startswith("doing")]


def test_a_dry_run_on_the_bare_machine_says_every_step_and_changes_nothing(installed):
    steps = {line[10:].split(":")[0] for line in installed.dry_run.splitlines()[:-1]}
    took = {line.split(":")[0] for line in done(installed.said)}
    assert {"user hivematrix", "roles, databases, confs", "pg_hba line", "administrator ada"} <= steps
    assert took - steps <= {f"schema of {name}" for name in SERVICES}
    assert installed.changed_by_dry_run == ""


def test_what_the_guide_made_before_is_taken_as_it_is(installed):
    assert [code for code, _ in installed.answers.values()] == [0] * len(installed.answers)
    assert "stands    user hivematrix" in installed.said
    assert f"stands    folder {HOME}\n" in installed.said
    assert f"stands    checkout {HOME}" in installed.said


def test_the_unit_that_the_guide_typed_over_is_put_back_and_runs(again, debian):
    """Or nothing is done, where the guide was not walked through on this machine before."""
    assert done(again) in ([], ["/etc/systemd/system/archive.service: differs"])
    pid = debian.read("/run/standin/archive.service.active")
    assert debian.shell(f"tr '\\0' ' ' < /proc/{pid}/cmdline") == f"{HOME}/.venv/bin/python run.py "


def test_a_second_run_finds_everything_and_does_nothing(debian):
    before = debian.shell(f"find {HOME}/instance /etc/nginx /etc/systemd -type f -exec sha256sum {{}} +")
    said = debian.shell(f"{HOME}/scripts/install")
    assert (done(said), said.splitlines()[-1]) == ([], "0 steps done; the rest stood already")
    assert debian.shell(f"find {HOME}/instance /etc/nginx /etc/systemd -type f -exec sha256sum {{}} +") == before


@pytest.mark.parametrize("name", ["instance", "logs", "run", "backups"])
def test_nobody_else_may_look_into_its_folders(debian, name):
    assert debian.shell(f"stat -c '%U:%G %a' {HOME}/{name}").split() == ["hivematrix:hivematrix", "700"]


def test_confs_are_private_and_every_secret_is_fresh(debian):
    modes = debian.shell(f"stat -c '%a %U' {HOME}/instance/*.conf {HOME}/.pgpass").split("\n")[:-1]
    assert modes == ["600 hivematrix"] * 9
    secrets = []
    for service in SERVICES:
        conf = configparser.RawConfigParser()
        conf.read_string(debian.read(f"{HOME}/instance/{service}.conf"))
        secrets += [conf["database"]["url"].split("@")[0], conf["pages"]["secret_key"]]
        assert (conf["billing"]["timezone"], conf["billing"]["currency"]) == ("Europe/Berlin", "USD")
        assert conf["service"]["url"] == f"https://billing.example.com/{service}"
        assert conf["service"]["trusted_proxy"] == "127.0.0.1"
    assert len(set(secrets)) == len(secrets)
    assert not any("your-secure-password" in secret for secret in secrets)


def test_the_guides_links_lead_to_the_checkouts_things(debian):
    assert debian.shell("readlink -f venv/bin/pip instance systemd", cwd=f"{HOME}/hivematrix-archive").split() == [
        f"{HOME}/hivematrix-archive/venv/bin/pip",
        f"{HOME}/instance",
        f"{HOME}/systemd",
    ]
    assert debian.shell(f"readlink {HOME}/.venv").strip() == "hivematrix-archive/venv"


def test_each_service_has_a_database_that_only_its_two_roles_enter(debian):
    for service in SERVICES:
        allowed = debian.sql(
            "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND "
            f"has_database_privilege(rolname, '{service}_db', 'CONNECT') ORDER BY 1"
        )
        assert allowed.split() == [f"{service}_owner", f"{service}_user"]


def test_the_administrator_of_the_installation_is_gone(debian):
    assert debian.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'hivematrix_install'") == "0"
    assert debian.run("ls", f"{HOME}/run/installer.pgpass", code=2)


@pytest.mark.parametrize("user", ["root", "hivematrix"])
def test_psql_finds_the_password(debian, user):
    assert debian.shell("psql -U archive_user -d archive_db -Atc 'SELECT current_user'", user=user) == "archive_user\n"


def test_psql_of_anybody_else_is_asked_for_it(debian):
    said = debian.shell("psql -w -U archive_user -d archive_db -c 'SELECT 1'", user="postgres", code=2)
    assert "no password supplied" in said


def test_the_units_are_there_and_start_with_the_machine(debian):
    for name in UNITS | {"archive-snapshot.service", "hivematrix-backup.service", "hivematrix-drill.service"}:
        assert debian.read(f"/etc/systemd/system/{name}") == debian.read(f"{HOME}/systemd/{name}")
    assert debian.shell("ls /etc/systemd/system/*.wants").split().count("archive.service") == 2
    assert debian.shell(f"systemctl is-enabled {' '.join(UNITS)}").split() == ["enabled"] * len(UNITS)


def test_the_journal_is_kept_for_a_stated_time(debian):
    text = debian.shell("systemd-analyze cat-config systemd/journald.conf")
    assert "MaxRetentionSec=90day" in text
    assert "SystemMaxUse=2G" in text


def test_nginx_leads_to_all_four_over_tls(debian):
    for service in SERVICES:
        answer = debian.shell(f"{OUTSIDE} https://billing.example.com/{service}/health")
        assert json.loads(answer) == {"status": "ok", "service": service}
    assert debian.shell(f"{OUTSIDE} -o /dev/null -w '%{{redirect_url}}' http://billing.example.com/helm/") == (
        "https://billing.example.com/helm/"
    )


def test_a_host_name_each_is_another_way_and_the_way_back_is_open(debian):
    """Who runs already takes the new addresses: people who sign in are led there."""
    names = [f"{service}.example.com" for service in SERVICES]
    outside = "curl -sk " + " ".join(f"--resolve {name}:443:127.0.0.1" for name in names)
    debian.shell(f"{HOME}/scripts/install --domain example.com")
    for service, name in zip(SERVICES, names, strict=True):
        assert json.loads(debian.shell(f"{outside} https://{name}/health")) == {"status": "ok", "service": service}
    led = f"{outside} -o /dev/null -w '%{{redirect_url}}' -H 'Accept: text/html' https://ledger.example.com/"
    assert debian.shell(led).startswith("https://helm.example.com/session/hand-over?service=ledger&")
    debian.shell(f"{HOME}/scripts/install {INSTALL_OPTIONS}")
    led = f"{OUTSIDE} -o /dev/null -w '%{{redirect_url}}' -H 'Accept: text/html' https://billing.example.com/ledger/"
    assert debian.shell(led).startswith("https://billing.example.com/helm/login?")


def test_a_certificate_from_certbot_takes_the_place_of_the_first_one(debian):
    live = "/etc/letsencrypt/live/billing.example.com"
    debian.shell(f"mkdir -p {live} && cp /etc/ssl/hivematrix/billing.example.com/* {live}/")
    assert done(debian.shell(f"{HOME}/scripts/install")) == ["/etc/nginx/sites-available/hivematrix: differs"]
    assert f"ssl_certificate     {live}/fullchain.pem" in debian.read("/etc/nginx/sites-enabled/hivematrix")


def test_one_administrator_may_sign_in_and_has_to_choose_a_password(debian, installed):
    [person] = json.loads(debian.shell(f"{HOME}/.venv/bin/hivematrix-helm users list --json", user="hivematrix"))
    assert (person["name"], person["role"], person["seen_at"]) == ("ada", "admin", None)
    password = installed.said.partition("first sign-in: ")[2].split()[0]
    assert len(password) >= 16
    assert password not in debian.shell(f"cat {HOME}/instance/* /run/standin/*.log")


def test_what_is_lost_is_made_again_and_nothing_else(debian):
    debian.shell(f"rm {HOME}/.pgpass /etc/systemd/system/codex.service {HOME}/hivematrix-archive/instance")
    debian.shell(f"chmod 755 {HOME}/backups")
    assert [line.split(":")[0] for line in done(debian.shell(f"{HOME}/scripts/install"))] == [
        f"folder {HOME}/backups",
        f"{HOME}/hivematrix-archive/instance -> ../instance",
        f"{HOME}/.pgpass",
        "/etc/systemd/system/codex.service",
    ]


def test_a_step_that_fails_is_named_and_the_same_line_goes_on_from_there(debian):
    """A site that nginx does not take: the running one stays as it is."""
    debian.write("/etc/nginx/sites-enabled/broken", "server { listen 443 sll; }\n")
    debian.shell("echo '# changed' >> /etc/nginx/hivematrix/proxy.conf")
    said = debian.shell(f"{HOME}/scripts/install", code=1)
    assert "nginx -t" in said
    assert "run the same line again" in said
    assert "ok" in debian.shell(f"{OUTSIDE} https://billing.example.com/helm/health")
    debian.run("rm", "/etc/nginx/sites-enabled/broken")
    assert debian.shell(f"{HOME}/scripts/install").endswith("0 steps done; the rest stood already\n")


def test_health_check_has_a_line_each_and_an_exit_code(debian):
    check = f"{HOME}/scripts/health-check"
    assert [line.split()[:2] for line in debian.shell(check).splitlines()] == [
        ["ok", name] for name in (*SERVICES, "disk")
    ]
    debian.shell("systemctl stop ledger.service")
    assert debian.shell(f"{check} --quiet", code=1).startswith("FAIL  ledger    does not answer")
    assert done(debian.shell(f"{HOME}/scripts/install")) == ["services are ready: ledger.service off"]
    assert debian.shell(f"{check} --quiet") == ""


def test_another_root_folder_is_looked_at_and_this_machine_is_not(debian):
    debian.shell("mkdir -p /srv/empty/etc")
    said = debian.shell(f"{HOME}/scripts/install --root /srv/empty --dry-run --host b.example.com")
    assert "would do  packages" in said
    assert debian.shell("ls /srv/empty/etc") == ""


def test_only_root_installs(debian):
    said = debian.shell(f"{HOME}/scripts/install {INSTALL_OPTIONS}", user="hivematrix", code=2)
    assert "run it as root" in said
