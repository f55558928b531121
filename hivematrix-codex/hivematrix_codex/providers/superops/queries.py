"""What SuperOps is asked for."""

from dataclasses import dataclass

_INFO = "listInfo { page pageSize hasMore totalCount }"


@dataclass(frozen=True, slots=True)
class List:
    """A query's name, the list in its answer, the record's id, and the GraphQL text."""

    name: str
    member: str
    key: str
    query: str


def _list(name: str, member: str, key: str, fields: str, kind: str = "ListInfoInput") -> List:
    text = f"query {name}($input: {kind}!) {{ {name}(input: $input) {{ {member} {{ {fields} }} {_INFO} }} }}"
    return List(name, member, key, text)


LISTS = {
    "companies": _list("getClientList", "clients", "accountId", "accountId name stage status customFields"),
    "contacts": _list("getClientUserList", "userList", "userId", "userId firstName lastName name email client"),
    "assets": _list(
        "getAssetList",
        "assets",
        "assetId",
        "assetId name hostName assetClass client site platform platformFamily status lastCommunicatedTime customFields",
    ),
    "tickets": _list(
        "getTicketList",
        "tickets",
        "ticketId",
        "ticketId displayId subject status client createdTime updatedTime resolutionTime worklogTimespent",
    ),
}
ENTRIES = _list(
    "getWorklogEntries",
    "entries",
    "itemId",
    "itemId billable qty billDateTime createdTime workItem technician notes",
    "GetWorklogEntriesInput",
)
