"""What clients ask for, drawn by Hypothesis or written down by a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st

from db.ids import new_id
from db.states import Priority
from db.submissions import Submission

POOL = "pool"
VERSIONS = ["v1", "v2"]


@dataclass(frozen=True)
class Request:
    """What a client asks for. `late` is past the server's deadline, `overdue` past the client's own."""

    owner: str = "ann"
    version: str = VERSIONS[0]
    priority: Priority = Priority.DEFAULT
    cost: int = 1
    body: str = "x"
    key: str | None = None
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None
    late: bool = False
    overdue: bool = False

    def submission(self) -> Submission:
        return Submission(
            id=new_id(),
            owner_id=self.owner,
            version_id=self.version,
            model_id="model",
            pool=POOL,
            input=f'"{self.body}"',
            created_at=datetime.now(UTC),
            webhook=self.webhook,
            webhook_events=self.webhook_events,
            cost=self.cost,
            priority=self.priority,
            deadline_seconds=-1.0 if self.late else None,
            deadline_at=datetime.now(UTC) - timedelta(seconds=1) if self.overdue else None,
            idempotency_key=self.key,
            digest=self.body.encode() if self.key else None,
        )


REQUESTS = st.lists(
    st.builds(
        Request,
        owner=st.sampled_from(["ann", "bob", "cy"]),
        version=st.sampled_from(VERSIONS),
        priority=st.sampled_from([Priority.DEFAULT, Priority.DEFAULT, Priority.FLEX, Priority.BATCH]),
        cost=st.integers(1, 5),
        body=st.sampled_from(["x", "y"]),
        key=st.sampled_from([None, None, None, "k1", "k2"]),
        webhook=st.sampled_from([None, "http://receiver/"]),
        webhook_events=st.sampled_from([None, None, (), ("start", "completed")]),
        late=st.sampled_from([False] * 7 + [True]),
    ),
    min_size=2,
    max_size=6,
)
