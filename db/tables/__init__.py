"""The tables, one class per file."""

from db.tables.api_token import ApiToken
from db.tables.base import Base
from db.tables.batch import Batch, BatchLine
from db.tables.deployment import Deployment
from db.tables.fairness import OwnerClock, PoolClock
from db.tables.file import File
from db.tables.idempotency_key import IdempotencyKey
from db.tables.lane import Lane
from db.tables.lane_order import LaneOrder
from db.tables.model import Model
from db.tables.model_version import ModelVersion
from db.tables.partial import Partial
from db.tables.prediction import Prediction
from db.tables.queue_entry import QueueEntry
from db.tables.run_counter import RunCounter
from db.tables.unavailable_version import UnavailableVersion
from db.tables.user import User
from db.tables.webhook_attempt import WebhookAttempt
from db.tables.webhook_delivery import WebhookDelivery
from db.tables.webhook_secret import WebhookSecret

__all__ = [
    "ApiToken",
    "Base",
    "Batch",
    "BatchLine",
    "Deployment",
    "File",
    "IdempotencyKey",
    "Lane",
    "LaneOrder",
    "Model",
    "ModelVersion",
    "OwnerClock",
    "Partial",
    "PoolClock",
    "Prediction",
    "QueueEntry",
    "RunCounter",
    "UnavailableVersion",
    "User",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookSecret",
]
