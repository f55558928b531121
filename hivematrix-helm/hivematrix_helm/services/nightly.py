"""What follows a good backup: off-site copies, and the end of the sets that it replaces."""

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import offsite, retention
from hivematrix_helm.system import sets


def finish(settings: HelmSettings) -> list[str]:
    """Send what waits, then remove what later sets have replaced; what was not sent, a line each."""
    with sets.locked(settings.home):
        sent = offsite.send(settings)
        retention.prune(settings)
    return [f"{name}: not off-site: {copy.fault}" for name, copy in sent.items() if copy.fault]
