"""Pages that are written into files, for people who read them without the service."""

from typing import Any

from jinja2 import Environment, PackageLoader


def pack_page(**told: Any) -> str:
    """The page of an auditor's pack that says what it is and how to check it."""
    environment = Environment(loader=PackageLoader("hivematrix_archive"), autoescape=True, trim_blocks=True)
    return environment.get_template("archive/pack.html").render(**told) + "\n"
