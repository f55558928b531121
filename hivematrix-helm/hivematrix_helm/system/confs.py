"""The instance confs of a home, as Helm writes them and reads them for its commands."""

from pathlib import Path

from hivematrix_common import conffile
from hivematrix_common.config import ConfigError, conf_path, read_callers
from hivematrix_common.tokens import Registration


class Conf:
    """One conf file, added to key by key."""

    def __init__(self, home: Path, name: str) -> None:
        self.path = conf_path(home, name)

    def section(self, name: str) -> dict[str, str]:
        parser = conffile.read(self.path) if self.path.exists() else {}
        return dict(parser[name]) if name in parser else {}

    def add(self, name: str, values: dict[str, str], *, force: bool = False) -> None:
        """Write the keys that are missing, with `force` those that differ too."""
        there = self.section(name)
        wanted = there | values if force else values | there
        if wanted != there:
            conffile.set_section(self.path, name, wanted)


def registrations(home: Path, service: str) -> list[Registration]:
    """Who may call a service, by its conf; ConfigError names what is broken there."""
    faults: list[str] = []
    path = conf_path(home, service)
    found = read_callers(path, faults) if path.exists() else []
    if faults:
        raise ConfigError(faults)
    return found
