"""Events of who may do what on a server."""

from __future__ import annotations

from mlwarehouse.tables.spec import Column, TableSpec

ACCESS_EVENTS = TableSpec(
    name="access_events",
    grain="One change of who may do what on a server.",
    columns=(
        Column("seq", "long", "Numbers the changes from 1 without gaps.", nullable=False),
        Column(
            "kind",
            "string",
            "`user_added`, `user_removed`, `role_granted`, `role_revoked`, `token_created`, or `token_revoked`.",
            nullable=False,
        ),
        Column(
            "principal",
            "string",
            "The user; `group:<name>` for all whom a log-in says to be of that group.",
            nullable=False,
        ),
        Column("role", "string", "The role granted or revoked; the most that a token may do, null for no bound."),
        Column(
            "object",
            "string",
            "What the role is for: `*` for everything, `experiments/<id>`, or `models/<name>`, whose name may have "
            "`*` and `?` as in file names.",
        ),
        Column("token_id", "string", "The token, for `token_created` and `token_revoked`."),
        Column("token_name", "string", "What the token is called, for `token_created`."),
        Column("token_hash", "string", "The SHA-256 of the token's secret, for `token_created`; hexadecimal."),
        Column("expires_at", "timestamp", "When the token ends, for `token_created`; null for never."),
        Column("actor", "string", "Who did it."),
        Column("comment", "string", "Why, in the actor's words."),
    ),
    sort_by=("seq",),
    rules=(
        "All changes are totally ordered by `seq`: the commit that writes number n is refused when another one wrote "
        "after the state it was decided on.",
        "A role holds from its `role_granted` row until a later `role_revoked` row with the same principal, role and "
        "object, or the principal's `user_removed` row.",
        "A token holds until it expires, is revoked, or its user is removed. The token itself is kept nowhere.",
    ),
)
