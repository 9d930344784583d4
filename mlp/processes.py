"""Members of a committee in processes of their own: a data set in, `Fitted` out, as one process would give.

Each worker is a fresh interpreter with one thread (``drupe.hardware``), so scripts need no guard around
their main part, and a worker that is killed takes nothing else with it.
"""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drupe.errors import ConvergenceError, DrupeError, InputError, MachineError
from drupe.hardware.engine import Crashed, Finished, LocalEngine, Lost, Outcome, Refused, Task
from drupe.mlp.baseline_energy import Baseline
from drupe.mlp.dataset import Dataset
from drupe.mlp.fit_folder import FitFolder
from drupe.mlp.fit_progress import FitProgress
from drupe.mlp.fitted import Fitted
from drupe.records import pack, register, unpack

if TYPE_CHECKING:
    from drupe.mlp.specs import FitSpec

__all__ = ["MemberTask", "fit_in_processes"]

_TIME_LIMIT_S: Final[float] = 2e6  # the system counts milliseconds in 31 bits
_KINDS: Final = {kind.__name__: kind for kind in (ConvergenceError, InputError, MachineError)}


@register(version=1)
@dataclass(frozen=True, eq=False)
class MemberTask:
    """What a worker is told beside the data.

    ``member`` of which fit; ``folder`` of fits, None for none; ``progress`` the file that gets a line for
    each record of the learning curve; ``device`` as in `drupe.mlp.train`.
    """

    spec: "FitSpec"
    member: int
    baseline: Baseline | None
    folder: str | None
    every_s: float
    progress: str
    device: str


def fit_in_processes(
    dataset: Dataset,
    spec: "FitSpec",
    baseline: Baseline | None,
    device: str,
    workers: int,
    folder: FitFolder | None,
    on_fitted: Callable[[Fitted], None],
    on_progress: Callable[[FitProgress], None],
) -> list[Fitted]:
    """Fit all members, ``workers`` at a time, and pass on within a second or so what they tell.

    Raises
    ------
    MachineError
        If a worker is killed; with a folder, the same call goes on where it stopped.
    DrupeError
        What a worker raised.
    """
    with tempfile.TemporaryDirectory(prefix="drupe-fits-") as name:
        scratch = Path(name)
        data = scratch / "labels"
        data.write_bytes(pack(dataset))
        kept = None if folder is None else str(folder.path.resolve())
        every_s = 0.0 if folder is None else folder.every_s
        told = [_Told(scratch / f"progress-{member}", on_progress) for member in range(spec.members)]

        def listen() -> None:
            for one in told:
                one.pass_on()

        tasks = iter(
            Task(
                key=f"task-{member}",
                name=f"member-{member}",
                kind="fit",
                call="drupe.mlp.training:fit_task",
                settings=MemberTask(spec, member, baseline, kept, every_s, str(told[member].path), device),
                inputs=(data,),
                timeout_s=_TIME_LIMIT_S,
            )
            for member in range(spec.members)
        )
        engine = LocalEngine(scratch, scratch / "logs", slots=workers, threads=1)
        fits: list[Fitted] = []
        # Closing ends the other workers when one has failed.
        with closing(engine.run(lambda: next(tasks, None), listen)) as outcomes:
            for task, outcome in outcomes:
                fits.append(_fitted(task, outcome, folder))
                on_fitted(fits[-1])
    return sorted(fits, key=lambda fit: fit.member)


class _Told:
    """A file of progress that another process appends to, line by line."""

    def __init__(self, path: Path, on_progress: Callable[[FitProgress], None]) -> None:
        self.path, self._on_progress, self._read = path, on_progress, 0

    def pass_on(self) -> None:
        """Pass on the lines that are whole and new."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            self._on_progress(FitProgress.from_line(line))


def _fitted(task: Task, outcome: Outcome, folder: FitFolder | None) -> Fitted:
    match outcome:
        case Finished(result=path):
            made = unpack(path.read_bytes())
            assert isinstance(made, Fitted)
            return made
        case Refused(error=kind, found=found, remedy=remedy):
            raise _KINDS.get(kind, DrupeError)(found, remedy=remedy)
        case Lost(reason=reason):
            again = "call train again with the same folder: it goes on where it stopped"
            raise MachineError(
                f"the worker that fitted {task.name} was killed: {reason.strip()}",
                remedy="look at the memory of the machine, or take fewer workers; then "
                + (
                    again if folder is not None else "train again, best with a folder so that nothing is lost"
                ),
            )
        case Crashed(traceback=text):
            raise RuntimeError(text)
