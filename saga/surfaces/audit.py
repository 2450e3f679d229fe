"""The audit: holds every journal against the participants' own ledgers and says what does not fit, with the order's id.

Protocol
--------
1. The store's clock is read: only sagas that had ended by then are judged as ended. Ledgers and mails are read next, so
   they hold everything that those sagas did; the journals are read last, so they hold the intent of every effect that
   was seen. So an audit beside running workers reports nothing that is only under way: it counts and names it as in flight,
   with the money and the stock that it holds.
2. Journals come in pages of `PAGE_SAGAS`, with their saga rows and effect rows (see `saga.surfaces.audit_rows`), and are
   dropped page by page. What stays is one record per order, and the ledgers (see `saga.surfaces.ledgers`).
3. Journals, effects and request rows whose saga has no row are told, and their keys are known.
4. Then every order, every SKU and every effect is judged by `saga.surfaces.invariants`.

A journal that cannot be read is one violation of I5; nothing else is said about its order. What could not be checked
(no ledger of a service, no mailbox, no definition, no oracle) stands in the report as not checked, never as right.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from shlex import quote

from pydantic import ValidationError

from saga.core import transitions as t
from saga.core.fold import SagaState
from saga.core.outcomes import OutcomeCode
from saga.core.states import ENDED, SagaStatus
from saga.errors import CodecError, IllegalTransition
from saga.fulfilment import models as m
from saga.fulfilment.fulfil_order import fulfil_order
from saga.fulfilment.return_order import return_order
from saga.runtime.engine import Definitions, is_readable
from saga.runtime.readback import read_kept
from saga.store.codec import decode
from saga.store.journal import JournalEntry
from saga.store.port import EffectRow, SagaFilter, SagaRow, Store
from saga.surfaces import audit_rows, once, order_rows
from saga.surfaces import invariants as rules
from saga.surfaces.audit_lost import Answered, KnownRuns, LostPart, answered, lost_part, lost_runs
from saga.surfaces.audit_mails import Mails, mail_faults, read_mails
from saga.surfaces.audit_report import AuditReport, Check, Waiting, render
from saga.surfaces.audit_returns import ReturnRecord, order_id_of, return_record
from saga.surfaces.invariants import Ending, Invariant, OrderRecord, Violation
from saga.surfaces.ledgers import PAYMENT, SERVICES, SHIPPING, STOCK, TAX, WITH_BARRIER, Ledgers, read_ledgers
from saga.surfaces.reading import cause_of
from saga.surfaces.rollbacks import plan_faults

__all__ = ["AuditReport", "Floor", "Oracle", "audit", "render"]

PAGE_SAGAS = 200


@dataclass(frozen=True, slots=True)
class Floor:
    """What must have fired at least for the run to count: `at_least` by name (`*` is all together). The kinds of fault
    are counted by the services as long as their script stands; `fired` adds what only the caller knows, such as `kill
    before send`, or the counts of a script that was deleted before the audit."""

    at_least: Mapping[str, int]
    fired: Mapping[str, int] = field(default_factory=dict)


Oracle = Mapping[str, tuple[SagaStatus, str]]
"""Order id → the one legal end and its cause; `saga.testing.oracle.legal_ends` makes it."""


def audit(
    store: Store,
    definitions: Definitions,
    ledger_urls: Mapping[str, str],
    mailbox: Path | None,
    *,
    oracle: Oracle | None = None,
    floor: Floor | None = None,
) -> AuditReport:
    """Check every invariant over everything that is stored. Reads only; may run beside workers, any number of times.

    `ledger_urls` maps `inventory`, `tax`, `shipping`, `payment` to addresses; what is missing is reported as not
    checked. Raises `UsageError` when a ledger cannot be read to its end, `StoreUnavailable` when the journal cannot.
    """
    began_at = store.now()
    ledgers = read_ledgers({name: url.rstrip("/") for name, url in ledger_urls.items()})
    mails = None if mailbox is None else read_mails(mailbox)
    sheet = _Sheet(definitions, ledgers, began_at, lost_part(store))
    for page in _pages(store):
        saga_ids = [row.saga_id for row in page]
        journals, effects = store.load(saga_ids), store.effects_of(saga_ids)
        for row in page:
            sheet.take(store, row, journals.get(row.saga_id, []), effects.get(row.saga_id, []))
        sheet.take_order_rows(store)
    sheet.take_lost(store)
    sheet.take_stray_rows(store)
    sheet.take_off_answered()
    sheet.join_returns()
    sheet.judge_orders()
    sheet.judge_strangers()
    sheet.judge_mails(mails)
    sheet.judge_ends(oracle)
    return sheet.report(floor)


def _pages(store: Store) -> Iterator[list[SagaRow]]:
    before = None
    while page := store.find(SagaFilter(before=before), PAGE_SAGAS):
        yield page
        before = (page[-1].accepted_at, page[-1].saga_id)


@dataclass
class _Sheet:
    """The audit's working sheet: what was seen so far and what did not fit."""

    definitions: Definitions
    ledgers: Ledgers
    began_at: datetime
    lost: LostPart
    answered: Answered = field(init=False)
    statuses: Counter[SagaStatus] = field(default_factory=Counter)
    waiting: list[Waiting] = field(default_factory=list)
    records: dict[str, OrderRecord] = field(default_factory=dict)
    returns: list[ReturnRecord] = field(default_factory=list)
    known_keys: set[str] = field(default_factory=set)
    closed_keys: set[str] = field(default_factory=set)
    """Of actions that were undone and that no journal has: see `once.closed_keys`."""
    known: KnownRuns = field(default_factory=KnownRuns)
    violations: list[Violation] = field(default_factory=list)
    checked: Counter[Invariant] = field(default_factory=Counter)
    skipped: dict[Invariant, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    entry_count: int = 0
    orders_of_page: list[SagaState] = field(default_factory=list)
    """Whose rows are still to be compared."""

    def take(self, store: Store, row: SagaRow, entries: list[JournalEntry], effects: Sequence[EffectRow]) -> None:
        """One saga: its journal and the rows around it, its plan, and what was done under its keys."""
        self.checked[Invariant.JOURNAL] += 1
        self.entry_count += len(entries)
        if not entries or not is_readable(entries):
            self._set_aside(row, entries)
            if entries:
                self.notes["written by a newer release, the journal is not judged"] += 1
            else:
                self._fault(Invariant.JOURNAL, row.entity, row.saga_id, "there is no journal")
            return
        try:
            seen = audit_rows.settled(store, self.definitions, row, entries, effects)
        except (IllegalTransition, CodecError) as error:
            self._fault(Invariant.JOURNAL, row.entity, row.saga_id, f"the journal cannot be folded: {error}")
            self._set_aside(row, entries)
            return
        self._count(seen.row)
        self.notes["sagas moved while they were read, their rows are not compared"] += seen.is_moving
        for why in seen.told:
            self._fault(Invariant.JOURNAL, seen.state.entity, row.saga_id, why)
        if seen.state.definition == fulfil_order.name and not seen.is_moving:
            self.orders_of_page.append(seen.state)
        self._take_state(seen.state, seen.journal)

    def take_order_rows(self, store: Store) -> None:
        """The rows of the table `orders` of the page that was just read, against the fold."""
        for state, why in order_rows.faults_of(store, self.orders_of_page):
            detail = f"the row of table orders is not the fold: {why}; saga orders rebuild"
            self._fault(Invariant.JOURNAL, state.entity, state.saga_id, detail)
        self.orders_of_page.clear()

    def take_stray_rows(self, store: Store) -> None:
        """Rows of the table `orders` of orders that no saga knows."""
        for row in order_rows.strays(store, lambda row: row["order_id"] in self.records):
            self.checked[Invariant.JOURNAL] += 1
            detail = "table orders has a row, and no saga knows the order; saga orders rebuild"
            self._fault(Invariant.JOURNAL, str(row["order_id"]), str(row["saga_id"]), detail)

    def take_lost(self, store: Store) -> None:
        """What names a saga that has no row: each is one violation of I5, and its order is not judged by anything else."""
        told = set()
        for lost in audit_rows.lost_sagas(store):
            told.add(lost.saga_id)
            self.checked[Invariant.JOURNAL] += 1
            self.entry_count += len(lost.entries)
            self._learn_keys(lost.entries)
            first = lost.accepted
            self._fault(Invariant.JOURNAL, first.entity if first else "", lost.saga_id, lost.detail)
            if first is not None:
                unknown = OrderRecord(first.entity, lost.saga_id, first.run, Ending.UNREADABLE, SagaStatus.RUNNING)
                self._keep(unknown)
        for request in audit_rows.lost_requests(store):
            if request.saga_id not in told:
                self.checked[Invariant.JOURNAL] += 1
                self._fault(Invariant.JOURNAL, "", request.saga_id, audit_rows.request_fault(request))

    def take_off_answered(self) -> None:
        """What somebody answers for after a restore is taken off the ledgers; of the rest is said what one can answer for."""
        self.answered = answered(self.lost, self.definitions, self.known)
        self.ledgers = self.answered.taken_off(self.ledgers)
        self.notes["orders, runs or returns that no journal knows, somebody answered for them"] += len(
            self.lost.settled
        )
        found = lost_runs(self.lost, self.definitions, self.known, self.ledgers, self.records, self.known_keys)
        for entity, count in found:
            then = f'send it again, or type  saga db settle {quote(entity)} --reason "…"'
            self.notes[f"rows are of a run of {entity} that no journal knows: {then}"] += count

    def _count(self, row: SagaRow) -> None:
        self.known.add(row)
        self.statuses[row.status] += 1
        if row.status not in ENDED:
            reason = row.halt_reason.value if row.halt_reason else ""
            self.waiting.append(Waiting(row.entity, row.saga_id, row.status, reason))

    def _take_state(self, state: SagaState, journal: list[t.Transition]) -> None:
        definition, who = audit_rows.known(self.definitions, state), (state.entity, state.saga_id)
        started: dict[str, t.AttemptStarted] = {}
        for it in journal:
            if isinstance(it, t.AttemptStarted):
                started.setdefault(it.node, it)
        self.known_keys |= {it.wire_key for it in started.values() if it.wire_key}
        self.closed_keys.update(once.closed_keys(definition, state, started))
        self.violations += once.key_faults(definition, state, started, self.ledgers, order_id_of(state), self.lost.has)
        if definition is None:
            self.notes[f"{state.definition} v{state.version} is not known here, I4 is not checked"] += 1
        else:
            self.checked[Invariant.PLAN] += state.cause is not None
            if unknown := [node for node in started if node.rpartition(":")[0] not in definition.by_name]:
                self._fault(Invariant.PLAN, *who, f"{unknown[0]} is no node of {definition.name} v{definition.version}")
            else:
                for why in plan_faults(definition, journal):
                    self._fault(Invariant.PLAN, *who, why)
                if _ending(state, self.began_at) is Ending.COMPENSATED:
                    for why in rules.undo_faults(definition, state, self.ledgers):
                        self._fault(Invariant.PLAN, *who, why)
        try:
            if state.definition == return_order.name:
                is_in_flight = _ending(state, self.began_at) is Ending.IN_FLIGHT
                self.returns.append(return_record(state, started, is_in_flight=is_in_flight))
            if state.definition == fulfil_order.name:
                self._keep(_record(state, started, self.began_at))
        except ValidationError as error:
            why = f"its input or an answer is none of {state.definition}'s: {error.title}, {error.error_count()} rules broken"
            self._fault(Invariant.JOURNAL, *who, why)
            self._keep(OrderRecord(state.entity, state.saga_id, state.run, Ending.UNREADABLE, state.status))

    def _set_aside(self, row: SagaRow, entries: list[JournalEntry]) -> None:
        """A saga that cannot be judged: the keys that can be read in it are known, and its order is not judged either."""
        self._count(row)
        self._learn_keys(entries)
        self._keep(OrderRecord(row.entity, row.saga_id, row.run, Ending.UNREADABLE, row.status))

    def _learn_keys(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            try:
                started = [it for it in decode(entry.body) if isinstance(it, t.AttemptStarted)]
            except CodecError:
                continue
            self.known_keys |= {it.wire_key for it in started if it.wire_key}

    def _keep(self, record: OrderRecord) -> None:
        """The latest run of an order stands for it, unless an earlier one cannot be read."""
        before = self.records.get(record.order_id)
        is_newer = before is None or record.run > before.run
        if (is_newer and (before is None or before.ending is not Ending.UNREADABLE)) or (
            record.ending is Ending.UNREADABLE
        ):
            self.records[record.order_id] = record

    def _fault(self, invariant: Invariant, order_id: str, saga_id: str, detail: str) -> None:
        self.violations.append(Violation(invariant, order_id, saga_id, detail))

    def join_returns(self) -> None:
        """Each order with what came back of it; one with a return under way is in flight."""
        for one in self.returns:
            record = self.records.get(one.order_id)
            if record is None:
                self._fault(
                    Invariant.MONEY, one.order_id, one.saga_id, f"return {one.return_id} of an order that no saga knows"
                )
            elif one.is_in_flight and record.ending is Ending.COMPLETED:
                self.records[one.order_id] = replace(record, ending=Ending.IN_FLIGHT)
            elif not one.is_in_flight:
                self.records[one.order_id] = replace(record, returns=(*record.returns, one))

    def judge_orders(self) -> None:
        """I1, I2 and I8 for every order that has ended, as far as its ledgers were read."""
        judges = (
            (Invariant.MONEY, PAYMENT, rules.money_faults),
            (Invariant.STOCK, STOCK, rules.order_stock_faults),
            (Invariant.LABELS, SHIPPING, rules.label_faults),
        )
        ended = [it for it in self.records.values() if it.ending in (Ending.COMPLETED, Ending.COMPENSATED)]
        for invariant, service, judge in judges:
            if not self.ledgers.has(service):
                self.skipped[invariant] = f"no ledger: the address of {service} is not given"
                continue
            self.checked[invariant] += len(ended)
            for record in ended:
                self.violations += judge(record, self.ledgers)
        if ended and self.ledgers.has(PAYMENT) and not self.ledgers.has(TAX):
            self.notes["orders have their tax from the journal: the address of tax is not given"] += len(ended)
        if self.ledgers.has(STOCK):
            steady = (set(self.ledgers.stock) | set(self.ledgers.folded_stock)) - self.ledgers.unsteady_skus
            self.checked[Invariant.STOCK] += len(steady)
            self.violations += rules.sku_faults(self.ledgers)
            if moving := len(self.ledgers.unsteady_skus):
                self.notes["SKUs moved while the ledger was read, their sums are not compared"] += moving

    def judge_strangers(self) -> None:
        """I3 for every effect and barrier row under a key that no journal knows."""
        self.checked[Invariant.ONCE] += sum(len(it) for it in self.ledgers.by_key.values())
        if not self.ledgers.services & set(WITH_BARRIER):
            self.skipped[Invariant.ONCE] = "no barrier: no address of a participant is given"
        unreadable = {it.order_id for it in self.records.values() if it.ending is Ending.UNREADABLE}
        known = (self.known_keys, self.closed_keys, set(self.records), unreadable)
        self.violations += once.stranger_faults(self.ledgers, *known, self.lost.has)

    def judge_mails(self, mails: Mails | None) -> None:
        """I6: a confirmation for every completed order and return, and for no other."""
        if mails is None:
            self.skipped[Invariant.TOLD] = "no mailbox is given"
            return
        readable = [it for it in self.records.values() if it.ending is not Ending.UNREADABLE]
        self.checked[Invariant.TOLD] += len(readable) + len(self.returns)
        mails = self.answered.taken_off_mails(mails)
        self.violations += mail_faults(mails, self.records, self.returns)

    def judge_ends(self, oracle: Oracle | None) -> None:
        """I7: every order of the script ended where it must; an order that is missing did not."""
        if oracle is None:
            self.skipped[Invariant.ORACLE] = "no oracle is given"
            return
        for order_id, legal in oracle.items():
            self.checked[Invariant.ORACLE] += 1
            record = self.records.get(order_id)
            if record is None:
                self.violations.append(
                    Violation(Invariant.ORACLE, order_id, "", f"must be {legal[0]}; no saga knows it")
                )
            elif record.ending is not Ending.UNREADABLE and (fault := rules.oracle_fault(record, legal)):
                self.violations.append(fault)
        if outside := sum(order_id not in oracle for order_id in self.records):
            self.notes["orders are not in the oracle's script"] += outside

    def report(self, floor: Floor | None) -> AuditReport:
        order_ids = {it.order_id for it in self.records.values() if it.ending is Ending.IN_FLIGHT}
        flying = [it for order_id in order_ids for it in self.ledgers.by_order.get(order_id, ())]
        fired = dict(Counter(self.ledgers.fired) + Counter(floor.fired if floor else {}))
        return AuditReport(
            counts={status.value: self.statuses[status] for status in SagaStatus},
            read_counts={**self.ledgers.read_counts, "journal": self.entry_count},
            checks=tuple(self._check(invariant) for invariant in Invariant),
            violations=tuple(sorted(self.violations, key=lambda it: (it.invariant, it.order_id, it.detail))),
            waiting=tuple(self.waiting),
            money=rules.money_balance(self.records.values(), self.ledgers),
            stock=rules.stock_balance(self.ledgers),
            in_flight_money=rules.places(flying, PAYMENT, (rules.HOLDS, rules.MERCHANT)),
            in_flight_stock=rules.places(flying, STOCK, (rules.RESERVED, rules.SHIPPED)),
            in_flight_label_count=len(rules.labels_of(flying)),
            notes=tuple(f"{count:,} {note}" for note, count in sorted(self.notes.items()) if count),
            without_address=tuple(name for name in SERVICES if not self.ledgers.has(name)),
            fired=fired,
            floors=dict(floor.at_least) if floor else {},
        )

    def _check(self, invariant: Invariant) -> Check:
        broken = {
            (it.order_id, it.saga_id, it.detail if not it.order_id else "")
            for it in self.violations
            if it.invariant is invariant
        }
        checked = max(self.checked[invariant], len(broken))
        return Check(invariant, checked - len(broken), checked, self.skipped.get(invariant, ""))


def _ending(state: SagaState, began_at: datetime) -> Ending:
    if state.ended_at is None or state.ended_at > began_at:
        return Ending.IN_FLIGHT
    return Ending.COMPLETED if state.status is SagaStatus.COMPLETED else Ending.COMPENSATED


def _record(state: SagaState, started: Mapping[str, t.AttemptStarted], began_at: datetime) -> OrderRecord:
    tax, freight = state.node("calculate_tax:a").result, state.node("quote_shipping:a").result
    intents = {node: it.wire_key or "" for node, it in started.items()}
    return OrderRecord(
        state.entity,
        state.saga_id,
        state.run,
        _ending(state, began_at),
        state.status,
        cause=cause_of(state.cause) if state.cause else "",
        order=read_kept(m.Order, state.input.data),
        tax=m.TaxQuote.model_validate_json(tax.data).tax_amount if tax else 0,
        freight=m.ShippingQuote.model_validate_json(freight.data).amount if freight else 0,
        tax_key=intents.get("calculate_tax:a", ""),
        confirm_key=intents.get("confirm_order:a", ""),
        is_told_optional=state.node("confirm_order:a").code is OutcomeCode.REJECTED,
    )
