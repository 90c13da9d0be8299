"""What the queue should do, in plain Python: what the state machine holds PostgreSQL against."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from db.lanes import MAX_LOSSES
from db.leases import Claim, Lease, Outcome
from db.states import FailureCode, Priority, Status
from db.submissions import Submission
from db.tables.queue_entry import PRIORITY_STEP


@dataclass(slots=True)
class Entry:
    """A prediction that is not terminal, and its lease."""

    submission: Submission
    start: float
    lane: str | None = None
    attempt: int = 0
    losses: int = 0

    @property
    def rank(self) -> float:
        return self.start + self.submission.priority * PRIORITY_STEP

    @property
    def is_late(self) -> bool:
        return self.submission.deadline_seconds is not None


@dataclass(frozen=True, slots=True)
class End:
    """How a prediction ended, for good."""

    status: Status
    attempts: int
    output: str | None = None
    failure: str | None = None


@dataclass(slots=True)
class QueueModel:
    """One pool's queue: who waits, who is leased to whom, and how everyone else ended."""

    lanes: set[str] = field(default_factory=set)
    entries: dict[str, Entry] = field(default_factory=dict)
    ended: dict[str, End] = field(default_factory=dict)
    webhooks: dict[str, str] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[str, bytes | None]] = field(default_factory=dict)
    owner_clocks: dict[tuple[str, Priority], float] = field(default_factory=dict)
    pool_clock: float = 0.0

    def submit(self, submissions: Sequence[Submission]) -> list[tuple[str, bool] | None]:
        """The answers: (id, replayed), or None for a key that was used for something else."""
        known = self.entries.keys() | self.ended.keys()
        fresh = [s for s in submissions if self._takes_its_key(s) and s.id not in known]
        times = {priority: self._virtual_time(priority) for priority in Priority}
        for submission in fresh:
            clock = submission.owner_id, submission.priority
            start = max(self.owner_clocks.get(clock, 0.0), times[submission.priority])
            self.entries[submission.id] = Entry(submission, start)
            self.owner_clocks[clock] = start + 1
        return [self._answer(submission) for submission in submissions]

    def _virtual_time(self, priority: Priority) -> float:
        """Where the next of this class starts: patient ones beside the first of those that wait."""
        patient = (e for e in self.entries.values() if e.submission.priority == priority > Priority.DEFAULT)
        return min((entry.start for entry in patient if entry.lane is None), default=self.pool_clock)

    def _takes_its_key(self, submission: Submission) -> bool:
        if submission.idempotency_key is None:
            return True
        name = (submission.owner_id, submission.idempotency_key)
        return self.keys.setdefault(name, (submission.id, submission.digest))[0] == submission.id

    def _answer(self, submission: Submission) -> tuple[str, bool] | None:
        if submission.idempotency_key is None:
            return submission.id, False
        identifier, digest = self.keys[submission.owner_id, submission.idempotency_key]
        return (identifier, identifier != submission.id) if digest == submission.digest else None

    def claimable(self, version: str, *, limit: int, locked: Iterable[str] = ()) -> list[str]:
        """The rows that a claim looks at: `limit` and one more, in rank order, less what others lock."""
        waiting = sorted(
            (entry.rank, identifier)
            for identifier, entry in self.entries.items()
            if entry.lane is None and entry.submission.version_id == version
        )
        return [identifier for _, identifier in waiting if identifier not in set(locked)][: limit + 1]

    def claim(
        self, lane: str, looked_at: Sequence[str], *, limit: int, budget: int
    ) -> tuple[list[str], bool]:
        """Which of `looked_at` a claim takes, and whether it leaves some. Changes nothing: see `lease`."""
        if lane not in self.lanes:
            return [], False
        taken: list[str] = []
        total = losses = 0
        for identifier in looked_at[:limit]:
            entry = self.entries[identifier]
            total += entry.submission.cost
            losses = max(losses, entry.losses)
            if taken and (total > budget or losses > 0):
                break
            taken.append(identifier)
        return taken, bool(taken) and len(looked_at) > len(taken)

    def lease(self, claim: Claim) -> None:
        """The claim has been committed."""
        for lease in claim.leases:
            entry = self.entries[lease.id]
            entry.lane, entry.attempt = lease.lane, lease.attempt
            self.pool_clock = max(self.pool_clock, entry.start)

    def holds(self, lease: Lease) -> bool:
        entry = self.entries.get(lease.id)
        return entry is not None and (entry.lane, entry.attempt) == (lease.lane, lease.attempt)

    def held_by(self, lane: str) -> list[str]:
        return [identifier for identifier, entry in self.entries.items() if entry.lane == lane]

    def finish(self, outcomes: Iterable[Outcome]) -> list[str]:
        """Ends those whose leases hold; returns their ids."""
        holding = [outcome for outcome in outcomes if self.holds(outcome.lease)]
        for outcome in holding:
            self._end(outcome.lease.id, outcome.status, outcome.output, outcome.failure)
        return [outcome.lease.id for outcome in holding]

    def give_back(self, leases: Iterable[Lease]) -> list[str]:
        holding = [lease.id for lease in leases if self.holds(lease)]
        for identifier in holding:
            self.entries[identifier].lane = None
        return holding

    def cancel(self, identifier: str) -> bool:
        if identifier not in self.entries:
            return False
        self._end(identifier, Status.CANCELED)
        return True

    def expire(self, locked: Iterable[str] = ()) -> list[str]:
        spared = set(locked)
        late = [i for i, entry in self.entries.items() if entry.is_late and i not in spared]
        for identifier in late:
            self._end(identifier, Status.FAILED, failure=FailureCode.DEADLINE_EXCEEDED)
        return late

    def lose(
        self,
        lanes: Iterable[str],
        *,
        max_losses: int = MAX_LOSSES,
        failure: FailureCode = FailureCode.WORKER_LOST,
    ) -> list[str]:
        """These lanes died: what they held waits again, or has failed; returns what has failed."""
        failed = []
        for lane in lanes:
            self.lanes.discard(lane)
            for identifier in self.held_by(lane):
                entry = self.entries[identifier]
                if entry.losses + 1 < max_losses:
                    entry.lane, entry.losses = None, entry.losses + 1
                else:
                    self._end(identifier, Status.FAILED, failure=failure)
                    failed.append(identifier)
        return failed

    def abandon(self, lane: str, *, running: Collection[str], failure: FailureCode) -> list[str]:
        """The lane hangs in what of `running` it still holds; the rest waits again."""
        for identifier in self.held_by(lane):
            if identifier not in running:
                self.entries[identifier].lane = None
        alone = len(self.held_by(lane)) == 1
        return self.lose([lane], max_losses=1 if alone else MAX_LOSSES, failure=failure)

    def retire(self, lane: str) -> None:
        self.lanes.discard(lane)
        for identifier in self.held_by(lane):
            self.entries[identifier].lane = None

    def _end(
        self, identifier: str, status: Status, output: str | None = None, failure: str | None = None
    ) -> None:
        entry = self.entries.pop(identifier)
        assert identifier not in self.ended
        self.ended[identifier] = End(status, entry.attempt, output, failure)
        wanted = entry.submission.webhook_events
        if entry.submission.webhook is not None and (wanted is None or "completed" in wanted):
            self.webhooks[identifier] = entry.submission.webhook
