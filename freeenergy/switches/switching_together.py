"""Several switches at a time that share the calls of their networks: starts (bohr) in, `Work` of each out."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import openmm
import torch
from numpy.typing import ArrayLike

from drupe.errors import DrupeError, InputError
from drupe.freeenergy.switches.switching import SwitchSpec, Work, switching
from drupe.mlp.force import learned_forces, remembering

__all__ = ["switch_together"]

_log = logging.getLogger(__name__)


def switch_together(
    system: openmm.System,
    starts: Sequence[ArrayLike],
    spec: SwitchSpec,
    seeds: Sequence[int],
    *,
    boxes: Sequence[ArrayLike] | None = None,
    at_once: int = 4,
    leg: str = "",
    side_by_side: int | None = None,
    platform: str = "auto",
    threads: int = 1,
) -> list[Work | DrupeError]:
    """Run one switch from each start, all in step, each in a context of its own.

    Before each increment the networks see the frames of all contexts in a few calls; each context then finds
    its answer. The works are those of `switch`, to the rounding of a network that sees several frames in one
    call and what chaos makes of it: equal in a short switch, equally distributed in a long one. On the
    Reference platform, which ``"auto"`` takes for a small molecule where no GPU is, all contexts share one
    stream of noise: there all seeds together fix all works, and each is distributed as that of `switch`.

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
    boxes
        Periodic box of each snapshot, rows in bohr, as for `switch`; needed where the system is periodic.
    at_once
        Frames in one call of a network; in double precision the arrays of more leave a core's cache.
    side_by_side
        Calls of a network at a time, each on a core of its own; None for as many as torch may have threads.
    leg, platform, threads
        As for `switch`.

    Returns
    -------
    list
        In the order of the starts, the work of each switch or the error that stopped it alone.

    Raises
    ------
    InputError
        If there is not one seed for each start, and one box if the system is periodic, or no learned force
        in the system.
    """
    cores = torch.get_num_threads() if side_by_side is None else side_by_side
    if len(starts) != len(seeds) or min(at_once, cores) < 1:
        raise InputError(
            f"{len(starts)} starts, {len(seeds)} seeds, {at_once} at once, {cores} side by side do not fit",
            remedy="give one seed per start, and one frame and one call at a time or more",
        )
    if system.usesPeriodicBoundaryConditions() and (boxes is None or len(boxes) != len(starts)):
        raise InputError(
            f"{0 if boxes is None else len(boxes)} boxes for {len(starts)} starts in a periodic system",
            remedy="give the box of each start: a switch keeps the volume it starts with",
        )
    forces = learned_forces(system)
    if not forces:
        raise InputError(
            "the system has no learned force of this process",
            remedy="build it here with createMixedSystem, or run its switches one by one",
        )
    size = min(at_once, max(len(starts), 1))
    under_way = {
        number: switching(
            system,
            start,
            spec,
            seeds[number],
            box=None if boxes is None else boxes[number],
            leg=leg,
            platform=platform,
            threads=threads,
        )
        for number, start in enumerate(starts)
    }
    ended: dict[int, Work | DrupeError] = {}
    memories = [memory for memory, _ in forces]
    before = sum(memory.alone for memory in memories)
    with remembering(memories, 2 * len(starts)), ThreadPoolExecutor(cores) as pool:
        while under_way:
            asking = []
            for number, steps in list(under_way.items()):
                try:
                    asking.append(next(steps).getState(positions=True))
                except StopIteration as end:
                    ended[number] = end.value
                except DrupeError as error:
                    ended[number] = error
                if number in ended:
                    del under_way[number]
            for memory, particles in forces:
                memory.answer_together([memory.question(state, particles) for state in asking], size, pool)
    more = sum(memory.alone for memory in memories) - before - len(memories) * len(starts)
    if more > 0 and all(isinstance(one, Work) for one in ended.values()):
        _log.warning(
            "the network was called %d times for single frames: the platform asks it at other positions than "
            "it tells, and sharing calls is worth nothing here",
            more,
        )
    return [ended[number] for number in range(len(starts))]
