"""An invoice or credit note as PDF: the same document gives the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from fpdf import FPDF
from fpdf.enums import Align, TextMode, XPos, YPos
from hivematrix_common.domain.money import minor_digits

from hivematrix_ledger.domain.paper import Document, Group, Proof, Seller, grouped, net, taxes
from hivematrix_ledger.render import fonts

_MARGIN: Final = 18.0
_LINE, _SMALL_LINE = 5.0, 4.0
_SIZE, _SMALL, _LARGE = 9.5, 7.5, 15.0
_FIGURES: Final = (("Quantity", 24.0), ("Rate", 26.0), ("Amount", 32.0))
_INK, _GREY, _PALE, _RULE = 20, 105, 228, 205
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_TITLES: Final = {"invoice": "Invoice", "credit_note": "Credit note"}


def invoice_pdf(body: Document, digest: str, seller: Seller, proof: Proof | None) -> bytes:
    """`digest` is the body's; without a `proof` it is a preview, and every page says so."""
    paper = _Paper(body, digest, seller, proof)
    paper.add_page()
    paper.draw()
    return bytes(paper.output())


class _Paper(FPDF):
    def __init__(self, body: Document, digest: str, seller: Seller, proof: Proof | None) -> None:
        super().__init__(format="A4")
        self.body, self.digest, self.seller, self.proof = body, digest, seller, proof
        self.groups, self.taxes = grouped(body), taxes(body)
        self.heading = False
        self.set_margins(_MARGIN, _MARGIN)
        self.set_auto_page_break(auto=True, margin=_MARGIN + 4)
        self._describe()
        self._add_fonts()

    @property
    def number(self) -> str:
        return f"{_TITLES[self.body['kind']]} {self.body['invoice_number']}"

    @property
    def column(self) -> float:
        """The width of what is said of a line."""
        return float(self.epw) - sum(width for _, width in _FIGURES)

    def header(self) -> None:
        if self.proof is None:
            self._watermark()
        if self.page_no() > 1:
            self._say(f"{self.number}, {self.body['company_name']}", size=_SMALL, grey=True)
            self.ln(3)
            if self.heading:
                self._table_head()

    def footer(self) -> None:
        self.set_y(-_MARGIN + 2)
        said = f"{'PREVIEW, not accepted. ' if self.proof is None else ''}{self.number}"
        self._cell(float(self.epw) / 2, said, size=_SMALL, grey=True)
        self._cell(float(self.epw) / 2, f"Page {self.page_no()} of {{nb}}", size=_SMALL, grey=True, align="R")

    def draw(self) -> None:
        self._parties()
        self._table()
        self._sums()
        self._close()

    def _describe(self) -> None:
        day = date.fromisoformat(self.body["invoice_date"])
        self.set_creation_date(datetime(day.year, day.month, day.day, tzinfo=UTC))
        self.set_title(self.number)
        self.set_author(self.seller.name)
        self.set_creator("HiveMatrix")
        self.set_lang("en")

    def _add_fonts(self) -> None:
        self.add_font("hm", fname=fonts.base())
        texts = (self.body["company_name"], self.body.get("reason", ""), self.body["billing_plan"])
        lines = (text for group in self.groups for text in (group.title, group.under))
        ours = (self.seller.name, *self.seller.address, *self.seller.bank, self.seller.tax_number)
        needed = fonts.fallbacks(map(fonts.readable, (*texts, *lines, *ours)))
        for path in needed:
            self.add_font(path.stem, fname=path)
        self.set_fallback_fonts([path.stem for path in needed], exact_match=False)
        self.set_font("hm", size=_SIZE)

    def _watermark(self) -> None:
        with self._ink(60, _PALE), self.rotation(45, self.w / 2, self.h / 2):
            self.text((self.w - self.get_string_width("PREVIEW")) / 2, self.h / 2, "PREVIEW")

    def _parties(self) -> None:
        top = self.y
        self._say(self.seller.name, size=_SIZE + 1, strong=True)
        tax = [f"Tax number {self.seller.tax_number}"] if self.seller.tax_number else []
        for text in (*self.seller.address, self.seller.email, *tax):
            self._say(text, size=_SMALL + 0.5, grey=True)
        bottom = self.y
        self.set_y(top)
        self._say(_TITLES[self.body["kind"]], grey=True, align="R")
        self._say(self.body["invoice_number"], size=_LARGE, strong=True, align="R")
        if self.proof is None:
            self._say("PREVIEW, not accepted", strong=True, align="R")
        self.set_y(max(bottom, self.y) + 8)
        self._say("Bill to", size=_SMALL, grey=True)
        self._say(self.body["company_name"], size=_SIZE + 1, strong=True)
        self._say(f"Account {self.body['account_number']}", size=_SMALL + 0.5, grey=True)
        self.ln(4)
        for name, value in self._facts():
            self._cell(30, name, grey=True)
            self._say(value)
        self.ln(5)

    def _facts(self) -> Iterator[tuple[str, str]]:
        body = self.body
        year, month = body["period"].split("-")
        yield "Period", f"{_MONTHS[int(month) - 1]} {year}"
        yield "Invoice date", _day(body["invoice_date"])
        if body["kind"] == "invoice":
            yield "Due", _day(body["due_date"])
        yield "Plan", f"{body['billing_plan']}, {body['contract_term']}"
        if body["corrects"]:
            yield "Corrects", body["corrects"]["invoice_number"]
            yield "Reason", body["reason"]

    def _table(self) -> None:
        self._table_head()
        self.heading = True
        for group in self.groups:
            self._row(group)
        self.heading = False
        if not self.groups:
            self._say("Nothing to be paid.", grey=True)

    def _table_head(self) -> None:
        self._cell(self.column, "Description", size=_SMALL, grey=True)
        for name, width in _FIGURES:
            self._cell(width, name, size=_SMALL, grey=True, align="R")
        self.ln(_LINE)
        self._rule()

    def _row(self, group: Group) -> None:
        title, under = self._wrapped(group.title, _SIZE), self._wrapped(group.under, _SMALL)
        if self.will_page_break(len(title) * _LINE + len(under) * _SMALL_LINE + 2):
            self.add_page()
        self._cell(self.column, title[0])
        figures = (_plain(group.quantity), self._rate(group.rate), self._money(group.amount))
        for (_, width), figure in zip(_FIGURES, figures, strict=True):
            self._cell(width, figure, align="R")
        self.ln(_LINE)
        for text in title[1:]:
            self._say(text, wrap=False)
        for text in under:
            self._say(text, size=_SMALL, grey=True, wrap=False)
        self.set_y(self.y + 1)
        self._rule()

    def _sums(self) -> None:
        self.ln(3)
        if self.taxes:
            self._sum("Net", net(self.body))
        for name, amount in self.taxes:
            self._sum(name, amount)
        word = "Credited" if self.body["kind"] == "credit_note" else "Total"
        self._sum(f"{word} {self.body['currency']}", Decimal(self.body["totals"]["total"]), strong=True)

    def _sum(self, name: str, amount: Decimal, *, strong: bool = False) -> None:
        width = _FIGURES[-1][1]
        self._cell(float(self.epw) - width, name, align="R", strong=strong)
        self._cell(width, self._money(amount), align="R", strong=strong)
        self.ln(_LINE + 0.5)

    def _close(self) -> None:
        self.ln(5)
        if self.body["kind"] == "invoice":
            self._say(f"To be paid by {_day(self.body['due_date'])}.")
        for text in self.seller.bank:
            self._say(text)
        self.ln(4)
        for text in self._proved():
            self._say(text, size=_SMALL, grey=True)

    def _proved(self) -> Iterator[str]:
        if self.proof is None:
            yield "This is a preview: it is not accepted, not sealed, and may still change."
            yield f"Digest of what it shows: {self.digest}"
            return
        yield f"Sealed {self.proof.sealed_at} as entry {self.proof.log_index} of {self.proof.origin}"
        yield f"Digest: {self.proof.digest}"
        yield f"Checkpoint: size {self.proof.size}, root {self.proof.root}"

    def _wrapped(self, text: str, size: float) -> list[str]:
        text = self._shaped(text)
        with self._ink(size):
            if self.get_string_width(text) < self.column - 4:
                return [text] if text else []
            lines = self.multi_cell(self.column - 2, _LINE, text, dry_run=True, output="LINES")
        assert isinstance(lines, list)
        return lines

    def _say(
        self,
        text: str,
        *,
        size: float = _SIZE,
        grey: bool = False,
        strong: bool = False,
        align: str = "L",
        wrap: bool = True,
    ) -> None:
        """One paragraph, or one line that fits; an empty one takes no room."""
        if not text:
            return
        text, height = self._shaped(text), _LINE * max(1.0, size / _SIZE) if size >= _SIZE else _SMALL_LINE
        width = self.epw - (self.x - self.l_margin)
        with self._ink(size, _GREY if grey else _INK, strong=strong):
            if wrap:
                self.multi_cell(width, height, text, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
            else:
                self.cell(self.column, height, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _cell(
        self,
        width: float,
        text: str,
        *,
        size: float = _SIZE,
        grey: bool = False,
        strong: bool = False,
        align: str = "L",
    ) -> None:
        text = self._shaped(text)
        with self._ink(size, _GREY if grey else _INK, strong=strong):
            self.cell(width, _LINE, text, align=Align.coerce(align))

    def _shaped(self, text: str) -> str:
        """What can be seen of it; the slow way of setting it only where it is needed."""
        text = fonts.readable(text)
        self.set_text_shaping(not fonts.is_plain(text))
        return text

    @contextmanager
    def _ink(self, size: float, shade: int = _INK, *, strong: bool = False) -> Iterator[None]:
        mode = TextMode.FILL_STROKE if strong else TextMode.FILL
        before = self.font_size_pt
        self.set_text_color(shade)
        self.set_draw_color(shade)
        self.set_line_width(0.1)
        self.text_mode = mode
        self.set_font_size(size)
        yield
        self.set_font_size(before)
        self.text_mode = TextMode.FILL

    def _rule(self) -> None:
        self.set_draw_color(_RULE)
        self.set_line_width(0.2)
        self.line(self.l_margin, self.y, self.l_margin + self.epw, self.y)
        self.ln(1)

    def _money(self, amount: Decimal) -> str:
        return _signed(f"{amount:,.{minor_digits(self.body['currency'])}f}")

    def _rate(self, rate: Decimal) -> str:
        digits = max(minor_digits(self.body["currency"]), -int(rate.normalize().as_tuple().exponent))
        return _signed(f"{rate:,.{digits}f}")


def _plain(quantity: Decimal) -> str:
    return _signed(f"{quantity:,f}")


def _signed(text: str) -> str:
    return text.replace("-", "\u2212")


def _day(text: str) -> str:
    day = date.fromisoformat(text)
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
