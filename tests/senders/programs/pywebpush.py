"""pywebpush, as the README calls it."""
import sys

# Not this file.
sys.path.pop(0)
from pywebpush import WebPushException, webpush  # noqa: E402

endpoint, p256dh, auth, public, private, text = sys.argv[1:]
try:
    response = webpush(
        {"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}},
        text,
        vapid_private_key=private,
        vapid_claims={"sub": "mailto:admin@example.org"},
    )
    print("sent", response.status_code)
except WebPushException as error:
    print("failed", error.response.status_code)
