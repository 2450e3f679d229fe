"""The fraud screen: rules as data (`fraud.toml`), each a question about one payment, and the sum of their weights.

Rules of this file
------------------
- A rule is a function from the payment to a reason or None; it is met or not, by what the request says. What the request
  leaves out meets no rule.
- The screen is readonly: it counts authorizations that stand in the service's own table and writes nothing. Two screens at
  once do not see each other's payments, so a burst may pass that one after the other would not.
- A reason names the rule and never the value that met it beyond what the caller sent.
- The file is read once and checked when it is read.
"""

import tomllib
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select

from saga.places import country_code
from services.payment.models import FraudReason, FraudRequest, FraudScreen
from services.payment.tables import AUTHORIZATION
from services.skeleton.service import Context, ExplainedRejection

SOURCE = Path(__file__).with_name("fraud.toml")
Count = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Table):
    amount_limit: Count
    country_mismatch: Count
    velocity: Count
    denied_sku: Count
    denied_email_domain: Count


class Velocity(_Table):
    most: Count
    window_s: Count
    shared_by_many: frozenset[str]


class Denied(_Table):
    skus: frozenset[str]
    email_domains: frozenset[str]


class FraudRules(_Table):
    """The whole file."""

    threshold: Count
    weights: Weights
    amount_limits: dict[str, Count]
    velocity: Velocity
    denied: Denied

    def amount_limit(self, currency: str) -> int:
        return self.amount_limits.get(currency, self.amount_limits["default"])


@cache
def fraud_rules() -> FraudRules:
    """The rules in force."""
    return FraudRules.model_validate(tomllib.loads(SOURCE.read_text(encoding="utf-8")))


def screen(context: Context, request: FraudRequest) -> FraudScreen:
    """`POST /v1/fraud-screens`: passes, or raises `fraud_suspected`; both with score and reasons."""
    rules = fraud_rules()
    met = {name: detail for name, rule in RULES.items() if (detail := rule(context, request, rules))}
    reasons = [FraudReason(rule=name, weight=getattr(rules.weights, name), detail=met[name]) for name in met]
    score = sum(reason.weight for reason in reasons)
    if score >= rules.threshold:
        raise ExplainedRejection(
            402,
            "fraud_suspected",
            "; ".join(reason.detail for reason in reasons),
            score=score,
            threshold=rules.threshold,
            reasons=[reason.model_dump() for reason in reasons],
        )
    return FraudScreen(score=score, threshold=rules.threshold, reasons=reasons)


def _amount_limit(_context: Context, request: FraudRequest, rules: FraudRules) -> str:
    limit = rules.amount_limit(request.currency)
    return f"the amount is above {limit} minor units of {request.currency}" if request.amount > limit else ""


def _country_mismatch(_context: Context, request: FraudRequest, _rules: FraudRules) -> str:
    if request.payment_country is None or _place(request.payment_country) == _place(request.country):
        return ""
    return "the way of paying is from another country than the parcel goes to"


def _velocity(context: Context, request: FraudRequest, rules: FraudRules) -> str:
    velocity = rules.velocity
    if request.customer_id is None or request.customer_id in velocity.shared_by_many:
        return ""
    since = context.now() - timedelta(seconds=velocity.window_s)
    counted = select(func.count()).where(AUTHORIZATION.c.customer_id == request.customer_id, AUTHORIZATION.c.at > since)
    count = context.connection.execute(counted).scalar_one()
    return f"{count} authorizations of this customer within {velocity.window_s} s" if count > velocity.most else ""


def _denied_sku(_context: Context, request: FraudRequest, rules: FraudRules) -> str:
    found = sorted(rules.denied.skus.intersection(request.skus))
    return f"on the deny-list: SKU {', '.join(found)}" if found else ""


def _denied_email_domain(_context: Context, request: FraudRequest, rules: FraudRules) -> str:
    labels = (request.email or "").rpartition("@")[2].casefold().rstrip(".").split(".")
    domains = {".".join(labels[start:]) for start in range(len(labels))}
    found = sorted(rules.denied.email_domains & domains)
    return f"on the deny-list: the e-mail domain {found[0]}" if found else ""


def _place(text: str) -> str:
    return country_code(text) or text.strip().casefold()


RULES: dict[str, Callable[[Context, FraudRequest, FraudRules], str]] = {
    "amount_limit": _amount_limit,
    "country_mismatch": _country_mismatch,
    "velocity": _velocity,
    "denied_sku": _denied_sku,
    "denied_email_domain": _denied_email_domain,
}
"""Name of a weight → the rule: what is wrong, or nothing."""
