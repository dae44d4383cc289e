"""The process of one invocation, started by `functions`: loads the handler from the unpacked package and calls it.

Arguments: folder of the code, handler, request id, seconds, file for the result. The event comes on standard input.
"""

import importlib
import json
import sys
import time
import traceback
from pathlib import Path


class Context:
    """What Lambda tells about an invocation."""

    def __init__(self, request_id: str, seconds: float) -> None:
        self.aws_request_id = request_id
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._ends_at - time.monotonic()) * 1000))


def main() -> None:
    code, handler, request_id, seconds, result = sys.argv[1:]
    sys.path[0] = code
    module, name = handler.rsplit(".", 1)
    try:
        function = getattr(importlib.import_module(module), name)
        answer = {"payload": function(json.load(sys.stdin), Context(request_id, float(seconds)))}
        text = json.dumps(answer)
    except Exception as error:  # noqa: BLE001 - as Lambda does, any failure is the invocation's answer
        traceback.print_exc()
        text = json.dumps({"error": {"errorMessage": str(error), "errorType": type(error).__name__}})
    Path(result).write_text(text)


if __name__ == "__main__":
    main()
