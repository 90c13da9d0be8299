"""The leases' state machine against real PostgreSQL: two lanes, interleaved transactions, and a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from time import sleep
from typing import TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from db import deadlines, lanes, submissions
from db.endings import Ended
from db.errors import IdempotencyMismatch
from db.lanes import LaneInfo, TakenBack
from db.leases import Claim, Lease, Leases, Outcome
from db.states import FailureCode, Status
from db.submissions import Accepted, Submission
from tests.db.interleaving import Sessions, sessions
from tests.db.lease_model import QueueModel
from tests.db.requests import POOL, REQUESTS, VERSIONS, Request

T = TypeVar("T")
LEASE_SECONDS = 5.0
# HYPOTHESIS_PROFILE=thorough looks for longer.
EXAMPLES, STEPS = {"thorough": (500, 80)}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), (50, 40))


@dataclass
class LaneUnderTest:
    """A worker process which may have been declared dead, and which never forgets a lease."""

    info: LaneInfo
    leases: Leases
    claimed: list[Lease]


@dataclass
class Uncommitted:
    """What an open transaction will have done, and which rows it locks."""

    happen: Callable[[], None]
    locked: Sequence[str]
    commit: bool


class LeaseMachine(RuleBasedStateMachine):
    """Lanes, gateways and the steward at work on one queue; after each step all tables equal the model."""

    world: Sessions

    def __init__(self) -> None:
        super().__init__()
        self.world.observer.execute(
            "TRUNCATE queue, predictions, webhook_deliveries, webhook_attempts, idempotency_keys, lanes,"
            " lane_orders, owner_clocks, pool_clocks"
        )
        self.model = QueueModel()
        self.numbers = count()
        self.lanes: list[LaneUnderTest] = []
        self.requests: list[tuple[list[Submission], list[tuple[str, bool] | None]]] = []
        self.uncommitted: Uncommitted | None = None

    def teardown(self) -> None:
        self.world.open.end(commit=False)

    # -- how operations run beside the open transaction --------------------------------------------------

    def _beside(self, operation: Callable[[], T]) -> T:
        """Run it; where it has to wait for the open transaction, that one ends first."""
        if self.uncommitted is None:
            return operation()
        return self.world.beside(operation, when_blocked=self._end_transaction)

    def _end_transaction(self) -> None:
        if self.uncommitted is not None:
            uncommitted, self.uncommitted = self.uncommitted, None
            self.world.open.end(commit=uncommitted.commit)
            if uncommitted.commit:
                uncommitted.happen()

    @property
    def _locked(self) -> Sequence[str]:
        return self.uncommitted.locked if self.uncommitted else ()

    # -- the gateway -------------------------------------------------------------------------------------

    @initialize(requests=REQUESTS)
    def work_waits(self, requests: list[Request]) -> None:
        self.submit(requests)

    @rule(requests=REQUESTS)
    def submit(self, requests: list[Request]) -> None:
        batch = [request.submission() for request in requests]
        self.requests.append((batch, self._submit(batch)))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def submit_again_after_a_lost_answer(self, data: st.DataObject) -> None:
        batch, answers = data.draw(st.sampled_from(self.requests))
        assert self._submit(batch) == answers

    def _submit(self, batch: list[Submission]) -> list[tuple[str, bool] | None]:
        answers = self._beside(lambda: self.world.run(submissions.submit(self.world.intake, batch)))
        plain = [(a.id, a.replayed) if isinstance(a, Accepted) else None for a in answers]
        assert plain == self.model.submit(batch)
        assert all(isinstance(a, Accepted | IdempotencyMismatch) for a in answers)
        return plain

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        known = sorted(self.model.entries) + sorted(self.model.ended)
        identifier = data.draw(st.sampled_from(known))
        ended = self._beside(lambda: self.world.run(submissions.cancel(self.world.gateway, identifier)))
        assert (ended is not None) == self.model.cancel(identifier)
        self._told([ended] if ended else [])

    # -- the lanes ---------------------------------------------------------------------------------------

    @initialize()
    def two_lanes_come(self) -> None:
        for slot in (0, 1):
            self._register(slot)

    def _register(self, slot: int) -> None:
        info = LaneInfo(f"lane-{next(self.numbers)}", "worker", slot, "host", pid=1, pools=[POOL])
        taken = self._beside(lambda: lanes.register(self.world.engine, info))
        dead = [lane.info.id for lane in self.lanes if lane.info.slot == slot]
        self._check_taken(taken, [i for i in dead if i in self.model.lanes])
        self.model.lanes.add(info.id)
        self.lanes.append(LaneUnderTest(info, Leases(self.world.engine, info.id), []))

    @precondition(lambda self: self._waiting_versions())
    @rule(data=st.data(), limit=st.integers(1, 4), budget=st.integers(1, 12))
    def claim(self, data: st.DataObject, limit: int, budget: int) -> None:
        lane, version = self._some_lane(data), data.draw(st.sampled_from(self._waiting_versions()))
        looked_at = self.model.claimable(version, limit=limit, locked=self._locked)
        claim = self._beside(lambda: lane.leases.claim(POOL, version, limit=limit, budget=budget))
        self._check_claim(lane, claim, looked_at, limit=limit, budget=budget)
        self._leased(lane, claim)

    @precondition(lambda self: self.uncommitted is None and self._waiting_versions())
    @rule(data=st.data(), limit=st.integers(1, 4), commit=st.booleans())
    def claim_without_committing_yet(self, data: st.DataObject, limit: int, commit: bool) -> None:
        lane, version = self._some_lane(data), data.draw(st.sampled_from(self._waiting_versions()))
        looked_at = self.model.claimable(version, limit=limit)
        self.world.open.begin()
        leases = Leases(self.world.open.engine, lane.info.id)
        claim = leases.claim(POOL, version, limit=limit, budget=99)
        self._check_claim(lane, claim, looked_at, limit=limit, budget=99)
        locked = looked_at if lane.info.id in self.model.lanes else []
        self.uncommitted = Uncommitted(lambda: self._leased(lane, claim), locked, commit)

    def _check_claim(
        self, lane: LaneUnderTest, claim: Claim, looked_at: list[str], *, limit: int, budget: int
    ) -> None:
        expected, more = self.model.claim(lane.info.id, looked_at, limit=limit, budget=budget)
        assert [lease.id for lease in claim.leases] == expected
        assert claim.more == more
        for lease in claim.leases:
            entry = self.model.entries[lease.id]
            assert (lease.lane, lease.attempt) == (lane.info.id, entry.attempt + 1)
            assert (lease.losses, lease.owner_id) == (entry.losses, entry.submission.owner_id)

    def _leased(self, lane: LaneUnderTest, claim: Claim) -> None:
        lane.claimed.extend(claim.leases)
        self.model.lease(claim)

    @precondition(lambda self: self._holders())
    @rule(data=st.data(), status=st.sampled_from([Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED]))
    def finish(self, data: st.DataObject, status: Status) -> None:
        lane, leases = self._some_leases(data)
        self._finish(lane, leases, status)

    @precondition(lambda self: self._superseded())
    @rule(data=st.data())
    def finish_late(self, data: st.DataObject) -> None:
        """A lane finishes what waits again, or what is leased again: to another lane or to itself."""
        lane, lease = data.draw(st.sampled_from(self._superseded()))
        self._finish(lane, [lease], Status.SUCCEEDED)

    def _superseded(self) -> list[tuple[LaneUnderTest, Lease]]:
        return [
            (lane, lease)
            for lane in self.lanes
            for lease in lane.claimed
            if lease.id in self.model.entries and not self.model.holds(lease)
        ]

    def _finish(self, lane: LaneUnderTest, leases: Sequence[Lease], status: Status) -> None:
        outcomes = [_outcome(lease, status) for lease in leases]
        ended = self._beside(lambda: lane.leases.finish(outcomes))
        assert sorted(e.id for e in ended) == sorted(self.model.finish(outcomes))
        self._told(ended)

    @precondition(lambda self: self.uncommitted is None and self._holders())
    @rule(data=st.data(), commit=st.booleans())
    def finish_without_committing_yet(self, data: st.DataObject, commit: bool) -> None:
        lane, leases = self._some_leases(data)
        outcomes = [_outcome(lease, Status.SUCCEEDED) for lease in leases]
        self.world.open.begin()
        ended = Leases(self.world.open.engine, lane.info.id).finish(outcomes)
        ids = [lease.id for lease in leases]
        assert sorted(e.id for e in ended) == sorted(ids)
        self.uncommitted = Uncommitted(lambda: self._finished(outcomes), ids, commit)

    def _finished(self, outcomes: Sequence[Outcome]) -> None:
        self.model.finish(outcomes)

    @precondition(lambda self: self.uncommitted is not None)
    @rule()
    def commit_or_crash(self) -> None:
        self._end_transaction()

    @precondition(lambda self: self._holders())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        lane, leases = self._some_leases(data)
        returned = self._beside(lambda: lane.leases.give_back(leases))
        assert sorted(returned) == sorted(self.model.give_back(leases))

    @precondition(lambda self: self._holders())
    @rule(slot=st.sampled_from([0, 1]))
    def a_lane_dies_and_the_next_one_takes_its_slot(self, slot: int) -> None:
        self._register(slot)

    @precondition(lambda self: self._holders())
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        lane = self._some_lane(data)
        taken = self._beside(lambda: lanes.retire(self.world.engine, lane.info.id))
        assert (taken.pools == {POOL}) == bool(self.model.held_by(lane.info.id))
        assert not taken.failed
        self.model.retire(lane.info.id)
        self._register(lane.info.slot)

    @precondition(lambda self: self._holders())
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """It hangs in some of what it holds, which counts as a loss; the rest has not begun."""
        lane, code = self._some_lane(data), FailureCode.EXECUTION_TIMEOUT
        held = [lease.id for lease in self._held(lane)]
        running = data.draw(st.sets(st.sampled_from(held))) if held else set()
        taken = self._beside(
            lambda: lanes.abandon(
                self.world.engine, lane.info.id, running=sorted(running), failure=code, error="It hangs."
            )
        )
        failed = self.model.abandon(lane.info.id, running=running, failure=code)
        assert sorted(e.id for e in taken.failed) == sorted(failed)
        self._told(taken.failed)
        self._register(lane.info.slot)

    # -- the steward -------------------------------------------------------------------------------------

    @precondition(lambda self: self._holders())
    @rule(silent_slots=st.sets(st.sampled_from([0, 1])))
    def take_back_dead(self, silent_slots: set[int]) -> None:
        silent = [lane.info for lane in self._alive() if lane.info.slot in silent_slots]
        self.world.observer.execute(
            "UPDATE lanes SET last_seen = now() - make_interval(hours => (id = ANY(%s))::int)",
            [[info.id for info in silent]],
        )
        taken = self._beside(lambda: lanes.take_back_dead(self.world.engine, lease_seconds=LEASE_SECONDS))
        self._check_taken(taken, [info.id for info in silent])
        for info in silent:
            self._register(info.slot)

    def _check_taken(self, taken: TakenBack, dead: Sequence[str]) -> None:
        assert sorted(taken.lanes) == sorted(dead)
        held = [identifier for lane in dead for identifier in self.model.held_by(lane)]
        failed = self.model.lose(dead)
        assert sorted(e.id for e in taken.failed) == sorted(failed)
        assert (taken.pools == {POOL}) == (len(held) > len(failed))
        self._told(taken.failed)

    @precondition(lambda self: any(entry.is_late for entry in self.model.entries.values()))
    @rule()
    def expire(self) -> None:
        locked = self._locked
        ended = self._beside(lambda: deadlines.expire(self.world.engine))
        assert sorted(e.id for e in ended) == sorted(self.model.expire(locked))
        self._told(ended)

    # -- what always holds -------------------------------------------------------------------------------

    @invariant()
    def the_queue_is_as_it_should_be(self) -> None:
        rows = self.world.observer.execute("SELECT id, lane, attempt, losses, rank FROM queue")
        assert {i: rest for i, *rest in rows} == {
            i: [e.lane, e.attempt, e.losses, e.rank] for i, e in self.model.entries.items()
        }
        assert all(entry.losses < lanes.MAX_LOSSES for entry in self.model.entries.values())

    @invariant()
    def every_accepted_id_has_one_record_and_terminal_ones_stay(self) -> None:
        rows = self.world.observer.execute(
            "SELECT id, status, attempts, output::text, failure FROM predictions"
        )
        assert {i: rest for i, *rest in rows} == {
            i: [Status.STARTING, 0, None, None] for i in self.model.entries
        } | {i: [e.status, e.attempts, e.output, e.failure] for i, e in self.model.ended.items()}

    @invariant()
    def the_outbox_has_one_row_for_each_end_that_somebody_asked_for(self) -> None:
        rows = self.world.observer.execute("SELECT prediction_id, url FROM webhook_deliveries").fetchall()
        assert sorted(rows) == sorted(self.model.webhooks.items())

    @invariant()
    def lanes_know_what_they_hold_and_whether_they_live(self) -> None:
        for lane in self.lanes[-4:]:
            held = lane.leases.held(lane.claimed)
            assert held.keys() == {lease.id for lease in lane.claimed if self.model.holds(lease)}
            alive = lanes.beat(self.world.engine, lane.info.id, finished=1, resident=[])
            assert alive == (lane.info.id in self.model.lanes)

    @invariant()
    def versions_wait_in_the_order_of_their_best_rank(self) -> None:
        if self.lanes:
            heads = [self.model.claimable(version, limit=0) for version in VERSIONS]
            ranks = sorted(self.model.entries[head[0]].rank for head in heads if head)
            assert [waiting.rank for waiting in self.lanes[0].leases.waiting(POOL)] == ranks

    # -- choices -----------------------------------------------------------------------------------------

    def _alive(self) -> list[LaneUnderTest]:
        return [lane for lane in self.lanes if lane.info.id in self.model.lanes]

    def _some_lane(self, data: st.DataObject) -> LaneUnderTest:
        """Mostly one that is alive, sometimes one that was declared dead and goes on regardless."""
        return data.draw(st.sampled_from(self._alive() * 5 + self.lanes[:1]))

    def _waiting_versions(self) -> list[str]:
        return [version for version in VERSIONS if self.model.claimable(version, limit=0)]

    def _held(self, lane: LaneUnderTest) -> list[Lease]:
        return [lease for lease in lane.claimed if self.model.holds(lease)]

    def _holders(self) -> list[LaneUnderTest]:
        return [lane for lane in self._alive() if self._held(lane)]

    def _some_leases(self, data: st.DataObject) -> tuple[LaneUnderTest, list[Lease]]:
        lane = data.draw(st.sampled_from(self._holders()))
        leases = st.sampled_from(self._held(lane))
        return lane, data.draw(st.lists(leases, min_size=1, max_size=3, unique_by=lambda lease: lease.id))

    def _told(self, ended: Sequence[Ended]) -> None:
        for end in ended:
            model = self.model.ended[end.id]
            assert (end.status, end.attempts, end.failure) == (model.status, model.attempts, model.failure)
            assert end.webhook == self.model.webhooks.get(end.id)


def _outcome(lease: Lease, status: Status) -> Outcome:
    if status is Status.FAILED:
        return Outcome(lease, status, error="It could not.", failure=FailureCode.MODEL_ERROR)
    return Outcome(lease, status, output=f'"{lease.lane}, attempt {lease.attempt}"')


def _wait_until_lanes_can_be_declared_dead(world: Sessions) -> None:
    """Until the server is older than a lease: before, every lane is granted one to be heard again."""
    query = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
    row = world.observer.execute(query).fetchone()
    assert row is not None
    sleep(max(0.0, LEASE_SECONDS + 0.1 - row[0]))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_lanes_gateways_and_the_steward_do_every_prediction_ends_exactly_once(
    database_url: str,
) -> None:
    with sessions(database_url) as opened:
        _wait_until_lanes_can_be_declared_dead(opened)

        class Machine(LeaseMachine):
            world = opened

        run_machine(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            ),
        )
