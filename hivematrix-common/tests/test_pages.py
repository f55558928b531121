"""The base layout and every macro in a real browser; pages for people and problems for programs; one style sheet."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import render_template, request
from hivematrix_common import pages as pages_module
from hivematrix_common import web
from hivematrix_common.config import Settings
from hivematrix_common.database import init_database, new_db
from hivematrix_common.errors import Problem
from hivematrix_common.health import init_health
from hivematrix_common.pages import Pages, init_pages
from hivematrix_common.peers import PeerSource
from hivematrix_common.sessions import init_sessions
from hivematrix_common.tables import Choice, Column, Table
from jinja2 import ChoiceLoader, FileSystemLoader

PEOPLE = Table(
    name="people",
    caption="People by name",
    nouns=("person", "people"),
    key="name",
    sort="name",
    page=3,
    search=("name",),
    columns=(Column("name", "Name"), Column("role", "Role", priority=2), Column("logins", "Logins", kind="number")),
    choices=(Choice("role", "Role", (("admin", "Administrator"), ("client", "Client"))),),
)
TOKENS = Path(pages_module.__file__).parent / "static" / "tokens.css"
SURFACES = ("canvas", "surface", "sunken", "hover")
ROWS = [
    {"name": name, "role": "admin" if name < "c" else "client", "logins": 7 * place % 5}
    for place, name in enumerate(["anna", "bert", "carl", "dora", "emil", "fred", "gina"])
]


@dataclass(frozen=True, kw_only=True)
class GallerySettings(Settings):
    NAME = "toy"


def make_pages() -> Pages:
    pages = Pages(__name__)

    @pages.get("/", scope="codex:read")
    def home() -> Any:
        listing = PEOPLE.of_rows(ROWS)
        return listing.csv() if listing.wants_csv else render_template("gallery.html", listing=listing)

    @pages.get("/closed", scope="helm:admin")
    def closed() -> str:
        return "closed"

    @pages.post("/act", scope="codex:read")
    def act() -> str:
        return request.form["csrf_token"]

    @pages.get("/refused/<code>", scope=None)
    def refused(code: str) -> str:
        if code == "internal":
            raise RuntimeError("a secret detail")
        raise Problem(code, "The detail.")

    return pages


def create_gallery(settings: GallerySettings) -> web.App:
    app = web.new_app(settings, "hivematrix_toy", "Toy")
    init_sessions(app, PeerSource(settings))
    init_database(app, new_db(), settings)
    init_health(app)
    subnav = (("Gallery", "pages.home"), ("Closed", "pages.closed"))
    init_pages(app, settings, make_pages(), subnav)
    loaders = [app.jinja_loader, FileSystemLoader(Path(__file__).parent / "templates")]
    app.jinja_loader = ChoiceLoader([loader for loader in loaders if loader])
    return app


@pytest.fixture
def gallery(service: Any) -> Any:
    return service(GallerySettings, create_gallery)


def test_every_part_is_sound_wide_and_narrow_light_and_dark(gallery: Any, browser_page: Any) -> None:
    visit = browser_page(gallery, "admin", display="Maya Okafor")
    visit.open("/")
    visit.check()


def test_the_page_says_the_same_without_script(gallery: Any, browser_page: Any) -> None:
    page = browser_page(gallery, "admin", script=False).open("/")
    page.get_by_role("link", name="Next").click()
    assert page.get_by_role("rowheader").filter(has_text="dora").is_visible()
    page.get_by_label("Search").fill("EM")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("#people").text_content() == "1 person"
    page.locator(".hm-desk summary").click()
    assert page.get_by_role("link", name="Keyboard map").is_visible()


def test_keys_go_where_the_map_says(gallery: Any, browser_page: Any) -> None:
    visit = browser_page(gallery, "admin")
    page = visit.open("/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("?jx")
    assert page.url.endswith("/"), "keys are letters while a field has the focus"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "bert"
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == "anna"
    page.keyboard.press("w")
    assert page.locator(".hm-why").get_attribute("open") is not None
    page.keyboard.press("Escape")
    assert page.locator(".hm-why").get_attribute("open") is None
    page.keyboard.press("]")
    page.wait_for_url("**after=*")
    page.keyboard.press("?")
    page.wait_for_url("**/keyboard")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url(visit.url + "/")


def test_the_account_switches_keys_off(gallery: Any, browser_page: Any) -> None:
    page = browser_page(gallery, "admin", shortcuts=False).open("/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


@pytest.mark.parametrize(("theme", "scheme"), [("light", "light"), ("dark", "dark"), ("auto", "system")])
def test_the_account_says_which_theme(gallery: Any, theme: str, scheme: str) -> None:
    gallery.sign_in("admin", theme=theme)
    assert f'data-bs-theme="{scheme}"' in gallery.get("/", None).text


def test_the_first_tab_skips_to_the_content(gallery: Any, browser_page: Any) -> None:
    page = browser_page(gallery, "admin").open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_frame_shows_who_is_there_and_only_what_they_may_open(gallery: Any) -> None:
    gallery.sign_in("technician", display="Ravi Sandhu")
    page = gallery.get("/", None).text
    assert "Ravi Sandhu" in page
    assert "Technician" in page
    assert re.findall(r'data-go="(.)"', page) == list("coco"), "in the bar and in the menu: Codex and Helm"
    assert 'aria-label="Toy"' not in page, "one page that may be opened needs no list of pages"
    gallery.sign_in("admin")
    assert "Closed</a>" in gallery.get("/", None).text


def test_print_leaves_the_frame_out(gallery: Any, browser_page: Any) -> None:
    page = browser_page(gallery, "admin", theme="dark").open("/")
    page.emulate_media(media="print")
    assert not page.locator(".hm-bar").is_visible()
    assert not page.get_by_role("button", name="Save").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    "code", ["insufficient_scope", "not_found", "conflict", "too_many_requests", "internal", "busy"]
)
def test_a_person_is_refused_by_a_page(gallery: Any, browser_page: Any, code: str) -> None:
    status = {"insufficient_scope": 403, "not_found": 404, "conflict": 409, "too_many_requests": 429, "internal": 500}
    visit = browser_page(gallery)
    page = visit.open(f"/refused/{code}", status.get(code, 503))
    visit.check()
    assert code in page.locator("main").text_content()
    assert "secret detail" not in page.content()


def test_a_person_who_is_signed_in_keeps_the_frame_when_refused(gallery: Any, browser_page: Any) -> None:
    visit = browser_page(gallery, "technician")
    page = visit.open("/closed", 403)
    visit.check()
    assert page.get_by_role("navigation", name="Sections", exact=True).is_visible()


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json, text/html;q=0.5"])
def test_a_program_is_refused_by_a_problem(gallery: Any, accept: str | None) -> None:
    answer = gallery.get("/nowhere", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/", 405)])
def test_a_browser_gets_a_page_where_no_route_answers(gallery: Any, method: str, path: str, status: int) -> None:
    answer = gallery.call(method, path, headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert answer.text.count("<h1") == 1


def test_style_and_script_are_kept_for_a_year_under_names_of_their_content(gallery: Any) -> None:
    gallery.sign_in("admin")
    page = gallery.get("/", None).text
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        answer = gallery.get(address, None)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert len(re.findall(r'rel="stylesheet"', page)) == 1
    assert gallery.get("/static/hivematrix-000000000000.css", None).status_code == 404
    assert gallery.get("/static/../pages.py", None).status_code == 404


def test_the_style_asks_for_nothing_else(gallery: Any) -> None:
    style = gallery.get(
        re.findall(r'href="(/static/hivematrix-[^"]+css)"', gallery.get("/keyboard", None).text)[0]
    ).text
    assert "data:" not in style
    assert "@import" not in style
    assert "sourceMappingURL" not in style
    assert style.index("--bs-blue") < style.index("--hm-canvas") < style.index(".hm-skip")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_edges_can_be_seen_on_every_surface(theme: int) -> None:
    found = re.findall(r"--hm-([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", TOKENS.read_text())
    colour = {name: pair[theme] for name, *pair in found}
    inks, meanings = ("ink", "ink-muted", "accent"), ("ok", "warn", "bad", "unknown")
    pairs = [(ink, ground) for ground in SURFACES for ink in (*inks, *meanings)]
    pairs += [(ink, f"{ground}-soft") for ground in (*meanings, "accent") for ink in ("ink", "ink-muted", ground)]
    assert [(i, g) for i, g in pairs if ratio(colour[i], colour[g]) < 4.5] == []
    assert [ground for ground in SURFACES if ratio(colour["line-strong"], colour[ground]) < 3] == []
    assert [fill for fill in ("accent-fill", "accent-deep") if ratio("#ffffff", colour[fill]) < 4.5] == []


def test_pages_can_be_left_out(service: Any) -> None:
    app = service(GallerySettings, create_gallery, sections={"pages": {"enabled": "no"}})
    assert app.get("/", headers=BROWSER).mimetype == "application/problem+json"
    assert app.get("/keyboard").status_code == 404
