"""Several switches at a time that share the calls of their networks: starts (bohr) in, `Work` of each out."""

import threading
from collections.abc import Sequence

import openmm
from numpy.typing import ArrayLike

from drupe.errors import DrupeError, InputError
from drupe.freeenergy.switches.switching import SwitchSpec, Work, switch
from drupe.mlp.force import learned_forces
from drupe.mlp.meeting import Meeting

__all__ = ["switch_together"]


def switch_together(
    system: openmm.System,
    starts: Sequence[ArrayLike],
    spec: SwitchSpec,
    seeds: Sequence[int],
    *,
    at_once: int = 4,
    leg: str = "",
    platform: str = "auto",
) -> list[Work | DrupeError]:
    """Run one switch from each start, all at a time, each in a context and a thread of its own.

    The works are those of `switch`, to the rounding of a network that sees several frames in one call and
    what chaos makes of it: equal in a short switch, equally distributed in a long one.

    Parameters
    ----------
    system
        As for `switch`; it has to hold a learned force.
    starts
        One snapshot per switch, each of shape ``(atoms, 3)``, bohr.
    spec
        What all of them have in common.
    seeds
        One per switch.
    at_once
        Frames in one call of a network. With half as many as there are switches two calls run side by side
        on two cores.
    leg, platform
        As for `switch`; each context has one thread.

    Returns
    -------
    list
        In the order of the starts, the work of each switch or the error that stopped it alone.

    Raises
    ------
    InputError
        If there is not one seed for each start, or no learned force in the system.
    """
    if len(starts) != len(seeds) or at_once < 1:
        raise InputError(
            f"{len(starts)} starts, {len(seeds)} seeds and {at_once} frames at once do not fit",
            remedy="give one seed per start, and one frame at once or more",
        )
    memories = [memory for memory, _ in learned_forces(system)]
    if not memories:
        raise InputError(
            "the system has no learned force of this process",
            remedy="build it here with createMixedSystem, or run its switches one by one",
        )
    meeting = Meeting(min(at_once, max(len(starts), 1)))
    made: list[Work | DrupeError | None] = [None] * len(starts)
    bugs: list[Exception] = []

    def run(number: int) -> None:
        try:
            made[number] = switch(
                system, starts[number], spec, seeds[number], leg=leg, platform=platform, threads=1
            )
        except DrupeError as error:
            made[number] = error
        except Exception as error:  # a bug: raised again in the caller's thread
            bugs.append(error)
        finally:
            meeting.leave()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(starts))]
    with meeting.of(memories, len(threads)):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if bugs:
        raise bugs[0]
    return [one for one in made if one is not None]
