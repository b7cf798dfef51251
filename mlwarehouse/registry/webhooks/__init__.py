"""Webhooks: what happens to registered models, told to other programs by signed HTTP requests.

A webhook is rows of the registry. A deliverer, one process at a time, goes through the change feed with a cursor and
puts each event that a webhook wants into its outbox, a file of its own; from there it is sent until a receiver takes
it, or until it has been tried often enough.
"""

from mlwarehouse.registry.webhooks.catalogue import EVENTS, WebhookEvent
from mlwarehouse.registry.webhooks.definitions import Webhook

__all__ = ["EVENTS", "Webhook", "WebhookEvent"]
