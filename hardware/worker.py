"""One task in one fresh process: read a job from standard input, call, write the result, say how it went.

``python -m drupe.hardware.worker`` gets one JSON line: the call (``"module:function"``), the packed
settings, the packed inputs, the result file, the report file and, for calls that go on after a kill, a
folder. Our own errors go into the report; anything else is a bug and leaves a traceback in it and in the
log. The process ends when its parent is gone.
"""

import importlib
import json
import os
import resource
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from drupe.errors import ConvergenceError, DrupeError, MachineError
from drupe.records import pack, unpack

__all__ = ["main"]


def main() -> None:
    """Do one job; the exit status is 0 whenever a report was written."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_leave_with, args=(job["driver"],), daemon=True).start()
    start = time.monotonic()
    report: dict[str, Any]
    try:
        _write(Path(job["result"]), pack(_call(job)))
        report = {"kind": "finished"}
    except DrupeError as error:
        report = _refused(error)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        told = f"the arithmetic broke down: {type(error).__name__}: {error}"
        report = _refused(ConvergenceError(told, remedy="look at the geometry; the log has the details"))
        traceback.print_exc()
    except OSError as error:
        told = f"the machine refused: {error}"
        report = _refused(MachineError(told, remedy="free space or rights on that path, then run again"))
        traceback.print_exc()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also one that would end the process: somebody else's code may raise it
        said = {"error": type(error).__name__, "message": str(error)}
        report = {"kind": "crashed", "traceback": traceback.format_exc(), **said}
        traceback.print_exc()
    report["seconds"] = time.monotonic() - start
    report["peak_mb"] = _peak_mb()
    _write(Path(job["report"]), json.dumps(report).encode())


def _refused(error: DrupeError) -> dict[str, Any]:
    return {
        "kind": "refused",
        "error": type(error).__name__,
        "found": error.found,
        "remedy": error.remedy,
        "retry": error.retry,
    }


def _call(job: dict[str, Any]) -> Any:
    module, _, function = job["call"].partition(":")
    call = getattr(importlib.import_module(module), function)  # first: it registers its records
    inputs = [unpack(Path(path).read_bytes()) for path in job["inputs"]]
    settings = unpack(Path(job["settings"]).read_bytes())
    if job["folder"] is not None:
        return call(settings, *inputs, folder=Path(job["folder"]))
    return call(settings, *inputs)


def _peak_mb() -> float:
    """Peak resident memory in MB. Linux keeps the parent's peak in ru_maxrss, so ask for our own."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _leave_with(driver: int) -> None:
    # A driver that is killed cannot stop its workers; they notice by themselves.
    waiting = threading.Event()
    while os.getppid() == driver:
        waiting.wait(1.0)
    os._exit(3)


if __name__ == "__main__":
    main()
