"""What `systemctl show` says of our units, told as the supervisor tells of its own."""

from typing import Any

from hivematrix_helm.domain.unit import REFUSED_EXIT, State, ending

_PLAIN = ("Id", "LoadState", "Environment", "ActiveState", "MainPID", "NRestarts", "StateChangeTimestamp")
PROPERTIES = (*_PLAIN, "ExecMainCode", "ExecMainStatus")
_STATES = {"active": State.RUNNING, "reloading": State.RUNNING, "activating": State.WAITING}
_STATES |= {"deactivating": State.STOPPING, "inactive": State.STOPPED, "failed": State.STOPPED}
_EXITED = "1"  # CLD_EXITED; the others are ends by a signal


def parse(text: str, home: str) -> dict[str, dict[str, Any]]:
    """By service, from blocks of KEY=VALUE; a unit that is not installed, or serves another home, is left out.

    Times are asked for as @seconds.
    """
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n") if block]
    loaded = [said for said in blocks if said["LoadState"] == "loaded"]
    ours = [said for said in loaded if f"HIVEMATRIX_HOME={home}" in said["Environment"].split()]
    return {said["Id"].removesuffix(".service"): _unit(said) for said in ours}


def _unit(said: dict[str, str]) -> dict[str, Any]:
    state, pid, since = _STATES.get(said["ActiveState"], State.WAITING), said["MainPID"], said["StateChangeTimestamp"]
    status = int(said["ExecMainStatus"])
    refused = said["ActiveState"] == "failed" and said["ExecMainCode"] == _EXITED and status == REFUSED_EXIT
    ended = said["ExecMainCode"] != "0" and status and state is not State.RUNNING
    return {
        "state": str(State.REFUSED if refused else state),
        "pid": int(pid) if pid != "0" else None,
        "since": float(since[1:]) if since.startswith("@") else None,
        "restarts": int(said["NRestarts"]),
        "why": f"{_ending(said['ExecMainCode'], status)}; journalctl -u {said['Id']} -n 20" if ended else "",
    }


def _ending(code: str, status: int) -> str:
    return ending(status if code == _EXITED else -status)
