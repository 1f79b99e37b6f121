"""What may be said to a client that writes, and what it then has to tell its application.

A conversation is the answers to the POSTs of one write, in order (the last one for all that follow), and what the operation says
if it is asked. `tells` is the client's word: done, declined, nothing (it never happened), unknown.
"""

import dataclasses
import email.utils
import json
import time
import typing


@dataclasses.dataclass
class Say:
    """One answer. `status` 0: the connection ends without one; -1: nothing, until the client has had enough."""

    status: int
    outcome: str | None = None
    slug: str | None = None
    effect: str | None = None
    retry: int | None = None
    location: str | None = None
    body: typing.Any = None
    as_date: bool = False  # Retry-After as the time of day

    def headers(self, operation):
        named = {"Mainstay-Outcome": self.outcome, "Mainstay-Error": self.slug, "Retry-After": self.when(), "Location": self.location}
        if self.outcome not in (None, "none"):
            named["Operation-Location"] = operation
        return {name: str(value) for name, value in named.items() if value is not None}

    def when(self):
        # A date has whole seconds: this one is a second late, so that nobody who comes back at it is early.
        return email.utils.formatdate(time.time() + self.retry + 1, usegmt=True) if self.as_date else self.retry

    def text(self):
        body = self.body if self.body is not None else {"effect": self.effect} if self.effect else {"status": self.status}
        return json.dumps(body, separators=(",", ":"))


@dataclasses.dataclass
class Conversation:
    name: str
    posts: list[Say]
    tells: str
    times: int  # how often the write is sent; 0: that is not the point
    operation: Say | None = None
    result: Say | None = None
    body: str | None = None  # what the application must have got
    patience: float = 30
    attempt: float = 15
    is_stale: bool = False  # the operation that was named is not the one that the last attempt may have begun
    has_keys: bool = True  # the rules list the route
    is_shadowed: bool = False  # a route without keys stands before the one that the rules list
    is_resumed: bool = False  # later attempts are the first of a process


PAID = {"paid": 100}
LOST, SILENT = Say(0), Say(-1)
DONE = Say(201, "succeeded", body=PAID)
DECLINED = Say(422, "failed", "write-failed", "none")
UNKNOWN = Say(504, "unknown", "outcome-unknown", "unknown", retry=1)
STILL = Say(409, "unknown", "outcome-unknown", "unknown", retry=1)
LIMITED = Say(429, "none", "rate-limited", "none", retry=1)
NOT_EXECUTED = Say(503, "not_executed", "circuit-open", "none", retry=1)
NOT_KEPT = Say(409, "succeeded", "response-not-retained", "none")
GOT = json.dumps(PAID, separators=(",", ":"))


def document(state, effect):
    return Say(200, body={"id": "1", "state": state, "effect": effect, "final": effect != "unknown"})


CONVERSATIONS = [
    Conversation("an answer", [DONE], "done", 1, body=GOT),
    Conversation("an answer, and no word of Mainstay", [Say(201, body=PAID)], "done", 1, body=GOT),
    Conversation("the answer is lost", [LOST, DONE], "done", 2, body=GOT),
    Conversation("the answer is lost twice", [LOST, LOST, DONE], "done", 3, body=GOT),
    Conversation("lost, and declined", [LOST, DECLINED], "declined", 2),
    Conversation("silence, until the client's own time is over", [SILENT, DONE], "done", 2, body=GOT, attempt=2),
    Conversation("504, still unknown, settled", [UNKNOWN, STILL, DONE], "done", 3, body=GOT),
    Conversation("the service's own 500 on a write that happened", [Say(500, "unknown", retry=1), DONE], "done", 2, body=GOT),
    Conversation("a 202 that was decided against later", [Say(202, "unknown", retry=1), DECLINED], "declined", 2),
    Conversation("a 500 that is known to be a refusal", [Say(500, "failed")], "declined", 1),
    Conversation("the service declines", [Say(404, "failed")], "declined", 1),
    Conversation("in progress, then its replay", [Say(409, "in-progress", "in-progress", retry=1), DONE], "done", 2, body=GOT),
    Conversation("the answer was not kept", [NOT_KEPT], "done", 1),
    Conversation("a redirect that says: done", [Say(303, "succeeded", location="elsewhere")], "done", 1),
    Conversation("a redirect by somebody else", [Say(307, location="elsewhere")], "unknown", 0, patience=2),
    Conversation("over the limit, then done", [LIMITED, DONE], "done", 2, body=GOT),
    Conversation("over the limit until a time of day", [Say(429, "none", retry=1, as_date=True), DONE], "done", 2, body=GOT),
    Conversation("the ledger is full, then done", [Say(503, "none", "ledger-unavailable", "none", retry=2), DONE], "done", 2, body=GOT),
    Conversation("not executed, then done", [NOT_EXECUTED, DONE], "done", 2, body=GOT),
    Conversation("not executed until patience ends", [Say(502, "not_executed", "upstream-unreachable", "none", retry=60)], "nothing", 1),
    Conversation(
        "in doubt, repeats are refused, the operation happened", [UNKNOWN, LIMITED], "done", 2,
        operation=document("succeeded", "happened"), result=DONE, body=GOT,
    ),
    Conversation(
        "in doubt, repeats are refused, the operation failed", [UNKNOWN, LIMITED], "declined", 2, operation=document("failed", "none")
    ),
    Conversation(
        "in doubt, repeats are refused, the operation was not executed", [UNKNOWN, LIMITED, DONE], "done", 3,
        operation=document("not_executed", "none"), body=GOT,
    ),
    Conversation(
        "in doubt, and refused until patience ends", [UNKNOWN, LIMITED], "unknown", 0,
        operation=document("unknown", "unknown"), patience=4,
    ),
    Conversation(
        "in doubt, repeats are refused, and what the operation says is contradicted", [UNKNOWN, LIMITED], "unknown", 0,
        operation=document("not_executed", "unknown"), patience=4,
    ),
    Conversation("lost, and refused until patience ends", [LOST, LIMITED], "unknown", 0, patience=4),
    Conversation("a person was called", [UNKNOWN, Say(409, "unknown", "outcome-unknown", "unknown", retry=300)], "unknown", 2),
    Conversation("the key belongs to another request", [Say(422, "none", "key-reused", "none")], "nothing", 1),
    Conversation(
        "not executed, the repeat is lost, and then refused", [NOT_EXECUTED, LOST, LIMITED], "unknown", 0,
        operation=document("not_executed", "none"), patience=5, is_stale=True,
    ),
    Conversation(
        "unknown, the repeat is lost and began another operation, and then refused", [UNKNOWN, STILL, LOST, LIMITED], "unknown", 0,
        operation=document("not_executed", "none"), patience=7, is_stale=True,
    ),
    Conversation(
        "unknown, the repeat is lost, and then refused, the operation happened", [UNKNOWN, LOST, LIMITED], "done", 3,
        operation=document("succeeded", "happened"), result=DONE, body=GOT,
    ),
    Conversation("too large to be kept, and in progress", [Say(201, "in-progress", body=PAID), NOT_KEPT], "done", 2, body=GOT),
    Conversation("the service's own 500, and no keys are kept", [Say(500), Say(201, body=PAID)], "unknown", 1, has_keys=False),
    Conversation("lost, and no keys are kept", [LOST, Say(201, body=PAID)], "unknown", 1, has_keys=False),
    Conversation(
        "lost, and a route without keys stands before the one that keeps them", [LOST, Say(201, body=PAID)], "unknown", 1,
        has_keys=False, is_shadowed=True,
    ),
    Conversation("a 500 of something in between, and keys are kept", [Say(500), DONE], "done", 2, body=GOT),
    Conversation("no key protects this route", [Say(504, None, "timeout", "unknown")], "unknown", 1),
]  # fmt: skip
# The client is killed before its first answer; the next process takes up what the store has.
RESTART = Conversation("killed, and started again", [SILENT, DONE], "done", 2, body=GOT, is_resumed=True)
# The client is killed twice before an answer; the third process begins after Mainstay has forgotten the key.
AGED = Conversation("begun too long ago", [SILENT, SILENT, Say(201, body=PAID)], "unknown", 2, is_resumed=True)
