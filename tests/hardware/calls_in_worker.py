"""Calls that worker processes make in the tests."""

import os
import signal
import sys
import time
from dataclasses import dataclass

from drupe.errors import ConvergenceError, MachineError
from drupe.records import register


@register(version=1)
@dataclass(frozen=True, eq=False)
class Number:
    value: float
    note: str = ""


def add(settings, *inputs):
    if settings.note:
        with open(settings.note, "a") as log:
            log.write("x")
    return Number(settings.value + sum(item.value for item in inputs))


def threads(settings):
    return Number(float(os.environ["OMP_NUM_THREADS"]))


def refuse(settings, *inputs):
    with open(settings.note, "a") as log:
        log.write("x")
    raise ConvergenceError("the iteration stopped", remedy="use more steps")


def leave(settings):
    sys.exit(int(settings.value))


def hiccup(settings):
    with open(settings.note, "a+") as log:
        log.write("x")
        log.seek(0)
        if len(log.read()) < 2:
            raise MachineError("the device hiccuped", remedy="try again")
    return Number(1.0)


def die_once(settings):
    with open(settings.note, "a+") as log:
        log.write("x")
        log.seek(0)
        count = len(log.read())
    if count <= settings.value:
        os.kill(os.getpid(), signal.SIGKILL)
    return Number(float(count))


def go_on(settings, folder):
    """Count the calls in the folder, and die in the first ones."""
    folder.mkdir(exist_ok=True)
    with open(folder / "calls", "a+") as log:
        log.write("x")
        log.seek(0)
        count = len(log.read())
    if count <= settings.value:
        os.kill(os.getpid(), signal.SIGKILL)
    return Number(float(count))


def bug(settings):
    raise ZeroDivisionError("a bug")


def sleep(settings, *inputs):
    time.sleep(settings.value)
    return Number(settings.value)


def singular(settings):
    import numpy as np

    return Number(float(np.linalg.inv(np.zeros((2, 2)))[0, 0]))


def full_disk(settings):
    raise OSError(28, "No space left on device")
