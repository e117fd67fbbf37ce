"""For schemathesis: what a schema cannot say. Loaded by it alone."""
import uuid

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # A key that was used for another order is refused; that is another test's.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    # maxLength counts characters, the limit bytes.
    if isinstance(case.body, dict) and isinstance(case.body.get("note"), str):
        case.body["note"] = case.body["note"].encode()[:500].decode(errors="ignore")
