"""What a signed statement of a kind sets in motion, in the transaction that took it in. Captures and departures are evidence alone."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.cash import actions as cash
from backend.disputes import actions as disputes
from backend.exhibits.model import Accepted
from backend.policies.model import Policy
from backend.visits import reports as visits
from evidence.facts import Kind

Act = Callable[[Session, Actor, Accepted, Policy, datetime], object]

ACTS: Mapping[Kind, Act] = {
    Kind.CASH_RECEIPT: cash.collect,
    Kind.VOID: cash.void_receipt,
    Kind.DECLARATION: disputes.take_declaration,
    Kind.VISIT_CLOSE: visits.close,
}
"""Called once, when the last signature due has come."""
