"""The screen for three in the morning, `saga status`: what lives, what waits for whom, what halted, what one can type.

Rules of this file: a function from `saga.surfaces.standing.Standing` to text; no store, no clock. A line that begins with ✗
is one that somebody should read; without one there is nothing to do.
"""

from collections.abc import Mapping

from saga.core.options import ROLLBACK
from saga.core.states import Direction, SagaStatus
from saga.fulfilment.money import shown, was_known_currency
from saga.surfaces.attempts import in_words
from saga.surfaces.reading import WorkerReading
from saga.surfaces.render import DASH, clock_time, duration, typed
from saga.surfaces.standing import FOLDED, NAMED, Day, HaltedGroup, Standing, WaitingGroup
from saga.surfaces.visible import Page, one_line, page
from saga.surfaces.workers import how_to_run

WORKERS_SHOWN = 8
GROUPS_SHOWN = 10
QUEUES_SHOWN = 6


def status_page(now: Standing) -> Page:
    """The whole screen."""
    since = f", oldest due {duration(now.oldest_due_s)}" if now.due_count else ""
    lines = [_live(now), _today(now.today)]
    if not now.today.is_whole:
        lines.append(f"  (of today: those accepted since {now.today.since:%H:%M:%S}; all of it: saga status --all)")
    lines.append(f"due now {now.due_count:,}{since}")
    if now.clock_behind_s:
        behind = f"✗ the clock is {duration(now.clock_behind_s)} behind what is written down: it was set back"
        lines.append(f"{behind}; what waits is looked at again, and ages are not known until it has caught up")
    lines += _workers(now)
    lines += _untaken(now)
    for group in now.waiting[:GROUPS_SHOWN]:
        lines += _waiting(group, now)
    if now.folded_count >= FOLDED:
        lines.append(f"  (waiting: looked for in the {FOLDED:,} live sagas that were accepted first)")
    if now.unreadable_count:
        sagas = "saga" if now.unreadable_count == 1 else "sagas"
        lines.append(f"✗ {now.unreadable_count:,} live {sagas} whose journal cannot be read → saga audit")
    for halted in now.halted_groups:
        lines += _halted(halted, now)
    return page(lines)


def _live(now: Standing) -> str:
    number = now.counts
    parts = [f"live {now.live_count:,}"]
    parts += [f"{one} {number[one]:,}" for one in (SagaStatus.RUNNING, SagaStatus.COMPENSATING, SagaStatus.HALTED)]
    if (oldest := now.oldest) is not None:
        place = f" ({oldest.waits_at})" if oldest.waits_at else ""
        [name] = _names([oldest.entity], [oldest.tenant], now)
        parts.append(f"  oldest {duration(oldest.age_s)}  {name}{place}")
    return "   ".join(parts)


def _today(day: Day) -> str:
    least = "" if day.is_whole else "at least "
    share = f" ({_percent(day.compensated_percent)}, usual {_percent(day.usual_percent)})"
    return f"today   {least}{day.accepted:,} accepted   {day.completed:,} completed   {day.compensated:,} compensated{share}"


def _percent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f} %"


def _workers(now: Standing) -> list[str]:
    alive = [worker for worker in now.workers if worker.is_alive]
    gone = [worker for worker in now.workers if not worker.is_alive]
    lines = [f"{_worker(worker)}{_whose(worker, now)}" for worker in [*gone, *alive[:WORKERS_SHOWN]]]
    if (more := len(alive) - WORKERS_SHOWN) > 0:
        lines.append(f"✓ and {more:,} more workers")
    if not alive:
        is_wanted = now.live_count > sum(group.count for group in now.halted_groups if not group.heals_itself)
        lines.append(_nobody(now) if is_wanted else "no worker")
    elif now.unserved:
        tenants = ",".join(map(one_line, now.unserved))
        lines.append(f"✗ no worker for tenant {tenants}: start one with SAGA_TENANTS={tenants}")
    return lines


def _nobody(now: Standing) -> str:
    """What to type for a worker of all that wait; a definition that is not at hand is named, for no other command knows it."""
    if not now.not_at_hand:
        return f"✗ no worker: {how_to_run()}"
    which, it = ", ".join(map(one_line, now.moving[:GROUPS_SHOWN])), len(now.moving) == 1
    return f"✗ no worker, and {which} {'waits' if it else 'wait'}: {how_to_run(['MODULE:SAGA'])}  with {'its' if it else 'each'} definition"


def _whose(worker: WorkerReading, now: Standing) -> str:
    """Whose sagas it runs, where they are not just those that the screen is of."""
    own, its = now.tenants, worker.tenants
    if worker.environment == now.environment and (None if its is None else set(its)) == (
        None if own is None else set(own)
    ):
        return ""
    if worker.environment is None:
        return ", whose sagas is not known"
    return ", every tenant" if its is None else f", tenant {', '.join(map(one_line, its))}"


def _untaken(now: Standing) -> list[str]:
    """Workers are there, and something is due that none of them takes."""
    if not now.untaken or not any(worker.is_alive for worker in now.workers):
        return []
    which = ", ".join(map(one_line, now.untaken[:GROUPS_SHOWN]))
    due = f"✗ due for {duration(now.oldest_due_s)} and taken by nobody ({which})"
    return [f"{due} → start a worker with its definition: saga worker MODULE:SAGA"]


def _worker(worker: WorkerReading) -> str:
    where = f"worker {one_line(worker.host)} pid {worker.pid}"
    if not worker.is_alive:
        return f"✗ {where}, gone since {duration(worker.gone_s)}, not yet closed"
    return f"✓ {where}, queues {_queues(worker.queues)}"


def _queues(queues: list[str]) -> str:
    """The queues, those of rollbacks in a word, and as many as a line holds."""
    forward = [one_line(queue) for queue in queues if not queue.endswith(ROLLBACK)]
    shown = forward or [one_line(queue) for queue in queues]
    rest = " and their rollbacks" if 0 < len(forward) < len(queues) else ""
    text = ", ".join(shown[:QUEUES_SHOWN]) or "all"
    more = f" and {len(shown) - QUEUES_SHOWN:,} more" if len(shown) > QUEUES_SHOWN else ""
    return f"{text}{more}{rest}"


def _waiting(group: WaitingGroup, now: Standing) -> list[str]:
    who = f"{group.participant}: " if group.participant else ""
    things = "order" if group.order_count == group.count else "saga"
    name = group.step if group.direction is Direction.ACTION else f"undo {group.step}"
    wait = "waits" if group.count == 1 else "wait"
    many = f"{group.count:,} {things}{'' if group.count == 1 else 's'}"
    said = in_words(group.last_detail) if group.last_detail else str(group.last_outcome or DASH)
    mark = "✗" if group.halted_count else "…"
    is_now = group.next_in_s is not None and group.next_in_s <= 0
    then = "now" if is_now else f"in {duration(group.next_in_s)}" if group.next_in_s is not None else DASH
    return [
        f"{mark} {who}{many} {wait} at {name}, last answer {said}, next try {then}",
        f"    {_named(group, now)}",
    ]


def _named(group: WaitingGroup | HaltedGroup, now: Standing) -> str:
    more = f" and {group.count - len(group.entities):,} more" if group.count > len(group.entities) else ""
    return f"{', '.join(_names(group.entities[:NAMED], group.tenants[:NAMED], now))}{more}"


def _names(entities: list[str], tenants: list[str], now: Standing) -> list[str]:
    """The entities, each with its tenant where there may be several."""
    if now.tenants is not None and len(now.tenants) == 1:
        return [one_line(entity) for entity in entities]
    return [one_line(f"{entity} ({tenant})") for entity, tenant in zip(entities, tenants, strict=True)]


def _halted(group: HaltedGroup, now: Standing) -> list[str]:
    part = f" (of the first {group.read_count:,})" if group.read_count < group.count else ""
    money = f"   {_money(group.money_minor)}{part}" if group.money_minor else ""
    look = f", looked at again by itself at {clock_time(group.next_look_at)}" if group.next_look_at else ""
    lines = [f"✗ halted {group.count:,} {group.reason}{look}: {_named(group, now)}{money}"]
    if group.entities:
        first, tenant = group.entities[0], group.tenants[0]
        saga_id = next((one.saga_id for one in now.halted if (one.entity, one.tenant) == (first, tenant)), first)
        is_own = now.tenants == [tenant]
        show, all_tenants = (typed(first, saga_id), "") if is_own else (f"{saga_id} --all-tenants", " --all-tenants")
        lines.append(f"    you: saga show {show} · saga list --status halted --reason {group.reason}{all_tenants}")
    return lines


def _money(sums: Mapping[str, int]) -> str:
    return ", ".join(
        shown(amount, currency) if was_known_currency(currency) else f"{amount:,} {currency}"
        for currency, amount in sorted(sums.items())
    )
