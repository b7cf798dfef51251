"""The signature of a request: HMAC-SHA256 over id, time and body, under the header names of MLflow 3.17.2."""

from __future__ import annotations

import base64
import hashlib
import hmac

SIGNATURE = "X-MLflow-Signature"
TIMESTAMP = "X-MLflow-Timestamp"
DELIVERY_ID = "X-MLflow-Delivery-Id"
VERSION = "v1"


def signature_of(secret: str, delivery_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a request.

    Args:
        secret: The webhook's secret.
        delivery_id: What the request has in `DELIVERY_ID`.
        timestamp: What it has in `TIMESTAMP`.
        body: Its body.

    Returns:
        ``v1,`` and the signature in base64.
    """
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return f"{VERSION},{base64.b64encode(digest).decode()}"


def headers_of(secret: str | None, delivery_id: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a request.

    Args:
        secret: The webhook's secret; None leaves it unsigned.
        delivery_id: The delivery's id, the same each time that it is tried.
        body: The body.
        now: Seconds since the epoch.
    """
    timestamp = str(int(now))
    headers = {"Content-Type": "application/json", DELIVERY_ID: delivery_id, TIMESTAMP: timestamp}
    if secret is not None:
        headers[SIGNATURE] = signature_of(secret, delivery_id, timestamp, body)
    return headers
