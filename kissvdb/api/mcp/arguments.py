"""What tools are given, as types: they read the arguments and write each tool's JSON Schema."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kissvdb.api.bodies import RequestBody

COLLECTION_DEFAULT = "memories"

AnyObject = Annotated[
    msgspec.Raw,
    Meta(
        description="What to find it by, such as who it is about.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]
AnyValue = Annotated[msgspec.Raw, Meta(description="Any JSON.")]
Filter = Annotated[
    Any,
    Meta(
        description='Conditions by field, such as {"year": {"$gte": 1990}, "lang": "en"}; also '
        "$in, $exists, $and, $or, $not. Fields of objects by dotted paths.",
        extra_json_schema={"type": ["object", "null"]},
    ),
]
Memories = Annotated[
    str, Meta(description="Which memories: a name of A-Z a-z 0-9 . _ -, made by its first one.")
]
Offset = Annotated[
    int, Meta(description="A place in the log, as `offset` of an answer says.", ge=0)
]
Ttl = Annotated[int, Meta(description="Milliseconds until it is gone by itself.", ge=1)]
Cursor = Annotated[str, Meta(description="`cursor` of the answer before, for what comes after it.")]
Limit = Annotated[int, Meta(description="At most so many.", ge=1, le=100)]


class Remember(RequestBody, frozen=True):
    """One memory."""

    text: Annotated[
        str, Meta(description="What to remember: one fact, with all it needs.", min_length=1)
    ]
    id: Annotated[
        str | None,
        Meta(description="Its name; one that is there is replaced. Without it: a new one."),
    ] = None
    meta: AnyObject | UnsetType = UNSET
    supersedes: Annotated[
        str | None,
        Meta(description="The id of a memory that is true no longer: it is kept, not recalled."),
    ] = None
    ttl_ms: Ttl | None = None
    collection: Memories = COLLECTION_DEFAULT


class Recall(RequestBody, frozen=True):
    """Which memories to recall."""

    query: Annotated[str, Meta(description="What it is about, in words or as a question.")]
    k: Limit = 5
    filter: Annotated[
        Filter, Meta(description='Conditions on `meta.<field>`, such as {"meta.about": "ana"}.')
    ] = None
    collection: Memories = COLLECTION_DEFAULT


class AsOf(RequestBody, frozen=True):
    """Memories as they were."""

    offset: Offset
    id: Annotated[str | None, Meta(description="Only this one; without it, a list of all.")] = None
    limit: Limit = 20
    cursor: Cursor | None = None
    collection: Memories = COLLECTION_DEFAULT


class ChangedSince(RequestBody, frozen=True):
    """What became of memories."""

    offset: Offset
    limit: Limit = 50
    collection: Memories = COLLECTION_DEFAULT


class Forget(RequestBody, frozen=True):
    """Which memory to delete."""

    id: Annotated[str, Meta(description="Of the memory, as recall answers it.")]
    collection: Memories = COLLECTION_DEFAULT


class Search(RequestBody, frozen=True):
    """Words to look for."""

    collection: Annotated[str, Meta(description="Where to look; the tool collections lists them.")]
    text: Annotated[str, Meta(description='Words; also "a phrase", begin*, -without.')]
    kind: Annotated[
        Literal["documents", "vectors"], Meta(description="What the collection holds.")
    ] = "documents"
    k: Limit = 10
    filter: Filter = None
    fields: Annotated[
        list[str] | None, Meta(description="Of documents only these parts: dotted paths.")
    ] = None


class Find(RequestBody, frozen=True):
    """Documents by their fields."""

    collection: Annotated[str, Meta(description="Of documents; the tool collections lists them.")]
    filter: Filter = None
    sort: Annotated[str | None, Meta(description='Fields, "-" for descending: "-year,name".')] = (
        None
    )
    fields: Annotated[list[str] | None, Meta(description="Only these parts: dotted paths.")] = None
    limit: Limit = 20
    cursor: Cursor | None = None
    count: Annotated[bool, Meta(description="Also say how many pass in all.")] = False
    facets: Annotated[
        list[str] | None, Meta(description="Fields whose commonest values are counted.")
    ] = None


class SqlQuery(RequestBody, frozen=True):
    """A statement that reads."""

    sql: Annotated[
        str,
        Meta(
            description="One SELECT. Besides your tables: state, documents('c'), vectors('c'), "
            "events, text_search('c', 'words', 10), all at one moment."
        ),
    ]
    params: Annotated[
        Any,
        Meta(
            description="Values for ? (an array) or :name (an object).",
            extra_json_schema={"type": ["array", "object", "null"]},
        ),
    ] = None
    rows_max: Annotated[int, Meta(description="At most so many rows.", ge=1, le=1000)] = 100


class Publish(RequestBody, frozen=True):
    """An event."""

    type: Annotated[str, Meta(description="1 to 64 of A-Z a-z 0-9 . _ : -")]
    data: AnyValue
    key: Annotated[str | None, Meta(description="The key that it is about.")] = None
    tags: list[str] | None = None
    op_id: Annotated[str | None, Meta(description="A name: a repeat is not done again.")] = None


class StateGet(RequestBody, frozen=True):
    """Which key."""

    key: str
    at: Annotated[Offset | None, Meta(description="As it was at this offset.")] = None


class StatePut(RequestBody, frozen=True):
    """A key and its value."""

    key: str
    value: AnyValue
    ttl_ms: Ttl | None = None
    if_revision: (
        Annotated[
            int, Meta(description="Only over this revision of it; 0: only if there is none.", ge=0)
        ]
        | None
    ) = None
    op_id: Annotated[str | None, Meta(description="A name: a repeat is not done again.")] = None


class Collections(RequestBody, frozen=True):
    """Nothing is to be said."""
