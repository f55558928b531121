"""Where two bills differ, in words for a person: the totals, and the lines that came, went or changed."""

from typing import Any

Document = dict[str, Any]
LIMIT = 100


def differences(before: Document, after: Document) -> list[Document]:
    """Each with the `pointer` of the member and both values; at most 100, the total first."""
    found = [
        {"pointer": f"/totals/{kind}", "previewed": before["totals"][kind], "now": after["totals"][kind]}
        for kind in ("total", *(kind for kind in before["totals"] if kind != "total"))
        if before["totals"][kind] != after["totals"][kind]
    ]
    theirs, ours = _lines(before), _lines(after)
    found += [
        {"pointer": f"/lines/{name}", "previewed": theirs.get(key), "now": ours.get(key)}
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
        for name in [" ".join(key[:2])]
    ]
    members = sorted((before.keys() | after.keys()) - {"totals", "lines", "inputs", "inputs_digest", "csv_sha256"})
    found += [
        {"pointer": f"/{name}", "previewed": before.get(name), "now": after.get(name)}
        for name in members
        if before.get(name) != after.get(name)
    ]
    return found[:LIMIT] or [
        {"pointer": "/inputs", "previewed": before["inputs_digest"], "now": after["inputs_digest"]}
    ]


def _lines(body: Document) -> dict[tuple[str, ...], str]:
    """Amounts by kind, name and the record billed; lines that are alike are told apart by their place among them."""
    found: dict[tuple[str, ...], str] = {}
    for line in body["lines"]:
        key = (line["kind"], line["name"], *(line["uids"] if len(line["uids"]) == 1 else ()))
        while key in found:
            key = (*key, "again")
        found[key] = line["amount"]
    return found
