"""The one Celery task: a bell was rung."""

from workers.app import app, current_lane
from workers.messages import SERVE_TASK


@app.task(name=SERVE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
def serve(pool: str) -> None:
    """Serve a pool until nothing waits in it."""
    current_lane().serve(pool)
