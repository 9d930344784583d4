"""Active learning: frames and a level in, a committee and the labels it asked for out (atomic units).

Labels run while models are fitted and models are fitted while labels run: whenever a worker is free, the
course decides what it does next from what is there then. Every decision is written down before it is acted
on, so that a run that is killed goes on from where it was, whatever finished in which order.
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drupe.errors import ConvergenceError, DrupeError, InputError
from drupe.freeenergy.learning.course import ActivePlan, Ask, Course, Decision, from_json, to_json
from drupe.freeenergy.learning.pool import Pool, PoolFrame
from drupe.freeenergy.learning.tasks import Ground, Judged, JudgeStage, LearnStage
from drupe.freeenergy.tasks.bookkeeping import Books, Node, read_result
from drupe.freeenergy.tasks.runner import Watcher
from drupe.hardware.engine import Crashed, Engine, Outcome, Refused, Task
from drupe.mlp.intake import Intake
from drupe.records import record_key
from drupe.store import Row, Store

if TYPE_CHECKING:
    from drupe.mlp.committee import Committee

__all__ = ["ActivePlan", "ActiveRun", "Ground", "Pool", "learn_actively"]

_TASKS = "drupe.freeenergy.learning.tasks"
LABELLER = "drupe.freeenergy.learning.pool:label_frame"


@dataclass(frozen=True, eq=False)
class Round:
    """One model: its number, the frames it learned, the mean and the 95 % quantile of its spread."""

    number: int
    frames: tuple[int, ...]
    committee: "Committee"
    mean: float
    quantile: float


@dataclass(frozen=True, eq=False)
class ActiveRun:
    """What came out.

    ``committee`` the last model; ``frames`` the labelled frames of the pool and ``labels`` their labels, in
    that order; ``failed`` errors by frame; ``asked`` every frame asked for, in order; ``rounds`` the models
    in order; ``refused`` errors of models that could not be made, by their number.
    """

    committee: "Committee"
    frames: tuple[int, ...]
    labels: tuple[Any, ...]
    failed: Mapping[int, str]
    asked: tuple[Ask, ...]
    rounds: tuple[Round, ...]
    refused: Mapping[int, str]


def learn_actively(
    pool: Pool,
    plan: ActivePlan,
    ground: Ground,
    store: Store,
    engine: Engine,
    watcher: Watcher,
    *,
    labeller: str = LABELLER,
    timeout_s: float = 24 * 3600.0,
    retry_failed: bool = False,
) -> ActiveRun:
    """Choose frames, label them and learn, all at the same time, until the plan is done.

    Parameters
    ----------
    pool
        Frames to choose from and their level: the low one, or one with quantum cores.
    plan
        How many, how often, how to learn; with ``plan.transfer`` models are carried from
        ``ground.committee``, else fitted from scratch.
    ground
        What models start from.
    store, engine, watcher
        Where results live, where tasks run, who is told. The same store and arguments go on with a run.
    labeller
        ``"module:function"`` that is called with a `PoolFrame` and the pool and returns a `Label`, or for
        labels of another program a `drupe.mlp.sources.Frame` with both energies. What it raises fails the
        label of that frame, whatever it is.
    timeout_s
        Time limit of one task, in seconds.
    retry_failed
        Ask frames again whose labels failed, or could not be used, in earlier runs with this store: for
        when the cause is mended. Those that succeed now are labels too, beside those that replaced them.

    Returns
    -------
    ActiveRun
        The last model, and how it came about.

    Raises
    ------
    InputError
        If there are fewer frames than labels wanted, ``ground`` lacks what a transfer starts from, or there
        is no such labeller.
    ConvergenceError
        If more frames fail than ``plan.failures`` allows, or no model could be made.
    MachineError
        If a task's process was lost three times.
    """
    _check(plan, ground)
    _register_records_of(labeller)
    run = _Run(pool, plan, ground, store, timeout_s, labeller, watcher, retry_failed)
    for task, outcome in engine.run(run.next_task):
        run.settle(task, outcome)
    return run.result()


class _Run:
    """A course with its tasks: decisions become nodes, finished nodes news for the course."""

    def __init__(
        self,
        pool: Pool,
        plan: ActivePlan,
        ground: Ground,
        store: Store,
        timeout_s: float,
        labeller: str,
        watcher: Watcher,
        retry_failed: bool,
    ) -> None:
        self.plan, self.store, self.watcher, self.labeller = plan, store, watcher, labeller
        self.members = plan.fit.members if ground.committee is None else len(ground.committee.members)
        self.books = Books(store, timeout_s)
        self.books.give("pool", pool)
        self.books.give("ground", ground)
        asked = {"pool": record_key(pool), "ground": record_key(ground), "plan": record_key(plan)}
        self.diary = "active learning " + "-".join(key[:16] for key in asked.values()) + f" {labeller}"
        known = store.fact(self.diary)
        before = from_json(known) if isinstance(known, list) else []
        self.course = Course(plan, len(pool.positions), before)
        self.intake = Intake(pool.system.numbers[pool.partition.qm], pool.which)
        self.retry_failed, self.again = retry_failed, set[str]()
        #: Labels in the order they came back: whether one can be used depends on those before it.
        came = store.fact(f"{self.diary} back")
        self.order: list[int] = came if isinstance(came, list) else []
        self.waiting: list[Node] = []
        for decision in before:
            self._plan_for(decision)
        places = {_label(frame): place for place, frame in enumerate(self.order)}
        self.waiting.sort(key=lambda node: places.get(node.name, len(places)))

    def next_task(self) -> Task | None:
        """A task for a free worker: models before labels, since labels are chosen by them."""
        while True:
            for node in sorted(self.waiting, key=lambda node: node.stage == "labels"):
                if not self._is_ready(node):
                    continue
                self.waiting.remove(node)
                asked = self.books.ask(node, again=node.name in self.again)
                if isinstance(asked, Task):
                    self.watcher.started(node)
                    return asked
                self._note(node, asked, reused=True)
                break
            else:
                decision = self.course.decide()
                if decision is None:
                    return None
                self.store.keep_fact(self.diary, to_json(self.course.decisions))
                self._plan_for(decision)

    def settle(self, task: Task, outcome: Outcome) -> None:
        if isinstance(outcome, Crashed) and task.kind == "labels" and not self.labeller.startswith("drupe."):
            outcome = Refused(
                error=outcome.error,
                found=f"{self.labeller} raised {outcome.error}: {outcome.message}",
                remedy=f"the log of the task {task.name} has the traceback; once the labeller is mended, ask "
                "again: learn_actively(..., retry_failed=True)",
                retry=False,
                seconds=outcome.seconds,
                peak_mb=0.0,
            )
        node, row = self.books.settle(task, outcome)
        if row is None:
            self.waiting.insert(0, node)
        else:
            self._note(node, row, reused=False)

    def result(self) -> ActiveRun:
        course, rows = self.course, self.books.rows
        failed = self._failed()
        refused = {m: self._why(m) for m in sorted(course.refused)}
        if not course.scores:
            raise ConvergenceError(
                f"no model could be made of {len(course.labelled)} labels: "
                + "; ".join(dict.fromkeys(refused.values())),
                remedy="look at the labels and at the settings of the fit",
            )
        judged: dict[int, Judged] = {
            number: read_result(self.store, rows[f"model/{number}/judge"]) for number in course.scores
        }
        frames = tuple(sorted(course.labelled))
        return ActiveRun(
            committee=judged[max(judged)].committee,
            frames=frames,
            labels=tuple(read_result(self.store, rows[_label(i)]) for i in frames),
            failed=failed,
            asked=tuple(course.asked),
            rounds=tuple(_round(number, one) for number, one in sorted(judged.items())),
            refused=refused,
        )

    def _plan_for(self, decision: Decision) -> None:
        if isinstance(decision, Ask):
            settings = PoolFrame(decision.frame)
            self.waiting.append(Node(_label(decision.frame), "labels", self.labeller, settings, ("pool",)))
            return
        number = self.course.models.index(decision)  # no two are of the same frames
        labels = tuple(_label(i) for i in decision.frames)
        fits = tuple(f"model/{number}/member/{k}" for k in range(self.members))
        for member, name in enumerate(fits):
            how = LearnStage(self.plan, member, decision.frames)
            needs = ("pool", "ground", *labels)
            self.waiting.append(Node(name, "fits", f"{_TASKS}:learn", how, needs, version=2, goes_on=True))
        judge = JudgeStage(self.plan, decision.frames)
        needs = ("pool", "ground", *fits, *labels)
        self.waiting.append(Node(f"model/{number}/judge", "scores", f"{_TASKS}:judge", judge, needs))

    def _is_ready(self, node: Node) -> bool:
        return all(name in self.books.rows for name in node.needs)

    def _note(self, node: Node, row: Row, *, reused: bool) -> None:
        kind, _, rest = node.name.partition("/")
        if kind == "label":
            self._note_label(node, int(rest), row, reused=reused)
            return
        self.watcher.ended(node, row, reused=reused)
        number = int(rest.split("/")[0])
        if row.state == "failed":
            self._drop(number)
        elif rest.endswith("judge"):
            made: Judged = read_result(self.store, row)
            self.course.ready(number, made.scores)

    def _note_label(self, node: Node, frame: int, row: Row, *, reused: bool) -> None:
        """A label counts when it makes one data set with the others; else it failed like one not there."""
        self.intake.leave(frame)
        if row.state == "done":
            self.intake.let_in(frame, read_result(self.store, row))
        usable = self.intake.usable
        if frame not in usable and reused and self.retry_failed:
            self.intake.leave(frame)
            self.again.add(node.name)
            self.waiting.append(node)
            return
        if not reused or frame not in self.order:
            self.order = [*(i for i in self.order if i != frame), frame]
            self.store.keep_fact(f"{self.diary} back", list(self.order))
        if row.state == "done" and frame not in usable:
            row = replace(row, state="failed", blob=None, error=_said(self.intake.refused[frame]))
        self.watcher.ended(node, row, reused=reused)
        for i in usable - self.course.labelled:
            self.course.back(i)
        try:
            for i in ({frame} | self.course.labelled) - usable:
                self.course.back(i, failed=True)
        except ConvergenceError as error:
            found = {f"frame {i}": json.loads(told)["found"] for i, told in self._failed().items()}
            reasons = (told if name in told else f"{name}: {told}" for name, told in found.items())
            raise ConvergenceError(f"{error.found}: {'; '.join(reasons)}", remedy=error.remedy) from None

    def _failed(self) -> dict[int, str]:
        unusable = self.intake.refused
        return {
            i: _said(unusable[i]) if i in unusable else str(self.books.rows[_label(i)].error)
            for i in sorted(self.course.failed)
        }

    def _drop(self, number: int) -> None:
        """A member that cannot be fitted spoils its model: what waits for it is not run."""
        self.waiting = [node for node in self.waiting if not node.name.startswith(f"model/{number}/")]
        self.course.spoilt(number)

    def _why(self, number: int) -> str:
        rows = self.books.rows.items()
        return next(str(r.error) for name, r in rows if name.startswith(f"model/{number}/") and r.error)


def _check(plan: ActivePlan, ground: Ground) -> None:
    if plan.transfer is None:
        if ground.committee is not None:
            raise InputError(
                "a low-level committee was given, but the plan does not say how to carry it",
                remedy="give ActivePlan(transfer=TransferSpec(...)), or no committee",
            )
        return
    if ground.committee is None or ground.low is None:
        raise InputError(
            "the plan carries models from a low level, and there is no committee or no labels of it",
            remedy="give Ground(committee=..., low=...): the low-level model and what it was trained on",
        )


def _register_records_of(labeller: str) -> None:
    """Import the labeller's module: the records it returns are read here too."""
    module, _, function = labeller.partition(":")
    try:
        found = hasattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        found = False
    if not found:
        raise InputError(
            f"there is no labeller {labeller!r}",
            remedy='give "module:function" of a module that can be imported here and by the workers',
        )


def _said(error: DrupeError) -> str:
    """An error as the ledger writes it."""
    return json.dumps({"error": type(error).__name__, "found": error.found, "remedy": error.remedy})


def _label(frame: int) -> str:
    return f"label/{frame}"


def _round(number: int, made: Judged) -> Round:
    spread = made.scores.spread
    return Round(number, made.frames, made.committee, float(spread.mean()), float(np.quantile(spread, 0.95)))
