#!/usr/bin/env python3
"""The sample MSP: twelve companies as import files for Codex and Ledger, the same bytes on every machine.

    scripts/sample/make.py --until 2026-10 DIR

What an MSP decides (plans, contracts, overrides, prices) lies in `msp/`, written by hand. What happens month by month,
from October 2025 to the month named, is made here: people come and leave, machines are replaced, tickets are worked on.
A later month only adds; what earlier months hold stays as it was. People, firms and addresses are invented.
"""

import argparse
import csv
import random
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "hivematrix-common"))
from hivematrix_common.domain.period import Period

HERE = Path(__file__).resolve().parent
FIRST = Period(2025, 10)
TB = 1024**4


@dataclass(frozen=True)
class Shape:
    """How large a company is at the beginning; `tickets` a month, at most."""

    prefix: str
    users: int
    machines: dict[str, int]
    backup_tb: Decimal
    tickets: int
    names: str = "west"


SHAPES = {
    "620547": Shape(
        "HVD", 14, {"Workstation": 11, "Server": 2, "VM": 1, "Switch": 2, "Firewall": 1}, Decimal("6.25"), 6
    ),
    "183729": Shape(
        "TFL", 26, {"Workstation": 22, "Server": 3, "VM": 6, "Switch": 4, "Firewall": 2}, Decimal("7.75"), 9
    ),
    "402918": Shape("MPA", 9, {"Workstation": 9, "Server": 1, "Switch": 1, "Firewall": 1}, Decimal("3.4"), 4),
    "557310": Shape("NVC", 7, {"Workstation": 6, "Server": 1, "Switch": 1}, Decimal("0.8"), 3),
    "731064": Shape(
        "CAL", 18, {"Workstation": 18, "Server": 2, "VM": 4, "Switch": 2, "Firewall": 1}, Decimal("6.1"), 7
    ),
    "268415": Shape("SKR", 8, {"Workstation": 8, "Server": 1, "Firewall": 1}, Decimal("1.9"), 3, "japan"),
    "914402": Shape("RCC", 5, {"Workstation": 4, "Switch": 1}, Decimal("0.3"), 2),
    "346879": Shape(
        "BSC", 16, {"Workstation": 14, "Server": 1, "VM": 2, "Switch": 3, "Firewall": 2}, Decimal("2.2"), 5
    ),
    "689153": Shape("QSH", 11, {"Workstation": 9, "Server": 2, "Switch": 8, "Firewall": 3}, Decimal("1.4"), 5),
    "827546": Shape(
        "EMS", 21, {"Workstation": 19, "Server": 1, "VM": 1, "Switch": 3, "Firewall": 1}, Decimal("4.4"), 4
    ),
    "475291": Shape("SOS", 3, {"Workstation": 3}, Decimal(0), 0),
    "159037": Shape(
        "LQA", 12, {"Workstation": 12, "Server": 1, "VM": 2, "Switch": 1, "Firewall": 1}, Decimal("3.6"), 4, "north"
    ),
}
SYSTEMS = {
    "Workstation": ("Windows 11 Pro", "Windows 11 Pro", "macOS 15"),
    "Server": ("Windows Server 2022", "Ubuntu 24.04 LTS"),
    "VM": ("Windows Server 2022", "Debian 12"),
    "Switch": ("ArubaOS-CX 10.13",),
    "Firewall": ("FortiOS 7.4",),
}
SHORT = {"Workstation": "WS", "Server": "SRV", "VM": "VM", "Switch": "SW", "Firewall": "FW"}
# First names, last names.
NAMES = {
    "west": (
        "Ada Ben Carla Dmitri Elena Farid Grace Hana Ivan Joyce Kofi Lena Marco Nia Omar Priya Quinn Rosa Sam Tara",
        "Abara Becker Castillo Doyle Ekström Fontaine Grant Huang Ibarra Jansen Kaur Lopez Moreau Nguyen Okafor Park",
    ),
    "japan": ("Aiko Daichi Emi Haruto Kenji Mei Ren Sora Yui", "Aoki Fujita Hayashi Inoue Kato Mori Ono"),
    "north": ("Astrid Björn Elsa Gustav Ingrid Lars Maja Nils", "Berg Dahl Ek Holm Lindqvist Nyström Åberg"),
}
SUBJECTS = (
    *("Printer will not scan to mail", "New starter set-up", "Mailbox is full", "VPN drops every hour"),
    *("Laptop does not wake up", "Backup job failed overnight", "Wi-Fi is slow on the second floor"),
    *("Shared drive permissions", "Phishing mail reported", "Quarterly patching", "Line-of-business update"),
    *("Firewall firmware", "Replace a failing disk", "Leaver: close the accounts", "Video meeting has no sound"),
)
# Quarter hours mostly, and what a stopwatch says.
HOURS = ("0.25", "0.25", "0.5", "0.5", "0.75", "1", "1", "1.5", "2", "2.25", "3.5", "0.3333", "1.1667")


ARRIVAL, LEAVING, REPLACEMENT, BILLABLE = 0.35, 0.25, 0.3, 0.9
STAYING = 5  # the first few of a company, so that overrides keep what they are for


def dice_for(*parts: object) -> random.Random:
    return random.Random(" ".join(map(str, parts)))  # noqa: S311 - the same throw on every machine is the point


@dataclass
class Company:
    """One company as its months go by."""

    account: str
    shape: Shape
    contacts: list[dict[str, Any]] = field(default_factory=list)
    assets: list[dict[str, Any]] = field(default_factory=list)
    tickets: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def found(self) -> None:
        """What is there when the facts begin."""
        dice = dice_for(self.account)
        for _ in range(self.shape.users):
            self.hire(dice)
        # Known to the PSA, never billed.
        self.contacts[-1] |= {"name": "Front Desk Phone", "active": "false"}
        for kind, count in self.shape.machines.items():
            for _ in range(count):
                self.install(dice, kind)
        self.back_up()

    def hire(self, dice: random.Random, since: date | None = None) -> None:
        first, last = (dice.choice(names.split()) for names in NAMES[self.shape.names])
        number = len(self.contacts) + 1
        email = f"user{number}@{self.shape.prefix.lower()}.example"
        row = {"uid": f"c-{self.account}-{number:02}", "account_number": self.account, "name": f"{first} {last}"}
        self.contacts.append(row | {"email": email, "active": "true", "active_from": since, "active_to": None})

    def install(self, dice: random.Random, kind: str, since: date | None = None) -> None:
        number = sum(asset["billing_type"] == kind for asset in self.assets) + 1
        uid = f"a-{self.account}-{len(self.assets) + 1:02}"
        hostname = f"{self.shape.prefix}-{SHORT[kind]}-{number:02}"
        row: dict[str, Any] = {"uid": uid, "account_number": self.account, "hostname": hostname, "billing_type": kind}
        row |= {"backup_bytes": 0, "operating_system": dice.choice(SYSTEMS[kind])}
        self.assets.append(row | {"active_from": since, "active_to": None})

    def back_up(self) -> None:
        """Two workstations with a quarter of a TB each at most, the rest on the servers."""
        volume = int(self.shape.backup_tb * TB)
        for asset in [asset for asset in self.assets if asset["billing_type"] == "Workstation"][:2]:
            asset["backup_bytes"] = min(volume // 8, TB // 4)
            volume -= asset["backup_bytes"]
        servers = [asset for asset in self.assets if asset["billing_type"] in {"Server", "VM"}]
        for asset in servers:
            asset["backup_bytes"] = volume // len(servers)

    def live(self, month: Period) -> None:
        """One month: somebody may come or leave, a workstation may be replaced, tickets are worked on."""
        dice = dice_for(self.account, month)
        if not self.shape.tickets:
            return
        if dice.random() < ARRIVAL:
            self.hire(dice, self.day(dice, month))
        if dice.random() < LEAVING:
            self.end(dice, self.contacts, month)
        workstations = [asset for asset in self.assets if asset["billing_type"] == "Workstation"]
        if dice.random() < REPLACEMENT and self.end(dice, workstations, month):
            self.install(dice, "Workstation", self.day(dice, month))
        for number in range(1, dice.randint(self.shape.tickets // 2, self.shape.tickets) + 1):
            self.work(dice, month, number)

    def end(self, dice: random.Random, rows: list[dict[str, Any]], month: Period) -> bool:
        """One of the later `rows` ends this month; False when there is none that could."""
        settled = [row for row in rows[STAYING:] if (row["active_from"] or FIRST.first) < month.first]
        going = [row for row in settled if not row["active_to"] and row.get("active") != "false"]
        if going:
            dice.choice(going)["active_to"] = self.day(dice, month)
        return bool(going)

    def work(self, dice: random.Random, month: Period, number: int) -> None:
        days = sorted(self.day(dice, month) for _ in range(dice.randint(1, 3)))
        uid = f"t-{self.account}-{month.compact}-{number}"
        row = {
            "uid": uid,
            "account_number": self.account,
            "number": f"INC-{self.account[:3]}{month.compact[2:]}{number:02}",
        }
        row |= {"subject": dice.choice(SUBJECTS), "status": "closed"}
        self.tickets.append(row | {"opened_at": f"{days[0]}T08:00:00Z", "closed_at": f"{days[-1]}T17:00:00Z"})
        for index, day in enumerate(days, 1):
            billable = "true" if dice.random() < BILLABLE else "false"
            entry = {"uid": f"{uid}-{index}", "ticket_uid": uid, "worked_on": day, "hours": dice.choice(HOURS)}
            self.entries.append(entry | {"billable": billable})

    @staticmethod
    def day(dice: random.Random, month: Period) -> date:
        return date(month.year, month.month, dice.randint(1, month.days))


def make(folder: Path, until: Period) -> None:
    """Write all import files into `folder`."""
    companies = [Company(account, shape) for account, shape in SHAPES.items()]
    for company in companies:
        company.found()
        for month in months(until):
            company.live(month)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((HERE / "msp").glob("*.csv")):
        shutil.copyfile(file, folder / file.name)
    files = {"contacts": "contacts", "assets": "assets", "tickets": "tickets", "time_entries": "entries"}
    for stem, name in files.items():
        write(folder / f"{stem}.csv", (row for company in companies for row in getattr(company, name)))


def months(until: Period) -> Iterator[Period]:
    for number in range(until.months_since(FIRST) + 1):
        yield FIRST.plus(number)


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    every = list(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, every[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the sample MSP's import files.")
    parser.add_argument(
        "--until", type=Period.parse, required=True, metavar="YYYY-MM", help="the last month with facts"
    )
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.until < FIRST:
        parser.error(f"--until: the facts begin in {FIRST}")
    make(arguments.folder, arguments.until)


if __name__ == "__main__":
    main()
