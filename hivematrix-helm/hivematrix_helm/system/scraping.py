"""A service's /metrics, read."""

import requests
from prometheus_client.parser import text_string_to_metric_families

from hivematrix_helm.domain.measures import Reading
from hivematrix_helm.system.probes import PROBE_SECONDS

LONGEST = 4 * 2**20
_COUNTED = {"counter", "histogram", "summary"}


def read(url: str, token: str) -> list[Reading] | None:
    """What the service counts; None when it does not answer, or not as Prometheus' text."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(f"{url}/metrics", timeout=PROBE_SECONDS, allow_redirects=False, headers=headers)
    except requests.RequestException:
        return None
    if not answer.ok or len(answer.content) > LONGEST:
        return None
    try:
        return parse(answer.text)
    except ValueError:
        return None


def parse(text: str) -> list[Reading]:
    """ValueError when it is not Prometheus' text. When a counter began is no reading."""
    return [
        Reading(sample.name, sample.labels, sample.value, family.type in _COUNTED)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
