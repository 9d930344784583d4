"""Where several OpenMM contexts, each driven by a thread of its own, share the calls of a network.

A thread that asks for a frame waits until a batch is full, or until nobody else can come; the last one to
come runs the batch for all. Energies are those of the frames by themselves, to rounding.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drupe.mlp.force import Memory
from drupe.mlp.passes import Batches, Frame, Pass
from drupe.mlp.potential import Potential

__all__ = ["Meeting"]


class Meeting:
    """Joins the network calls of threads.

    Parameters
    ----------
    size
        Frames of one call. Smaller than the number of threads it leaves some to work on their MM part, or on
        a batch of their own on another core, while a batch is on its way.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        #: How many calls there were, and frames in them.
        self.calls, self.frames = 0, 0
        self._turn = threading.Condition()
        self._present, self._under_way = 0, 0
        self._waiting: defaultdict[int, list[_Question]] = defaultdict(list)
        self._batches: dict[int, Batches] = {}

    @contextmanager
    def of(self, memories: Sequence[Memory], threads: int) -> Iterator[None]:
        """Let these forces meet here while ``threads`` threads use them; each calls `leave` when it ends."""
        self._present = threads
        before = [(memory.run, memory.rooms) for memory in memories]
        for memory in memories:
            stack = memory.committee.stack
            self._batches[id(stack)] = memory.committee.batches(self.size)
            memory.run, memory.rooms = _Seat(self, stack), 2 * threads
        try:
            yield
        finally:
            for memory, (run, rooms) in zip(memories, before, strict=True):
                memory.run, memory.rooms = run, rooms

    def leave(self) -> None:
        """Tell that a thread asks no more."""
        with self._turn:
            self._present -= 1
            self._turn.notify_all()

    def ask(self, stack: Potential, frame: Frame) -> Pass:
        """Wait for others and get the frame's pass."""
        mine = _Question(frame)
        with self._turn:
            self._waiting[id(stack)].append(mine)
            while mine.answer is None and mine.error is None:
                found = self._ready()
                if found is None:
                    self._turn.wait()
                    continue
                batches, questions = found
                self._under_way += len(questions)
                self._turn.release()
                try:
                    _answer(batches, questions)
                finally:
                    self._turn.acquire()
                    self._under_way -= len(questions)
                    self.calls += 1
                    self.frames += len(questions)
                    self._turn.notify_all()
        if mine.error is not None:
            raise mine.error
        assert mine.answer is not None
        return mine.answer

    def _ready(self) -> "tuple[Batches, list[_Question]] | None":
        """A batch that is full, or the fullest one when everybody waits."""
        key = max(self._waiting, key=lambda one: len(self._waiting[one]))
        waiting = sum(len(some) for some in self._waiting.values())
        idle = self._present - self._under_way - waiting
        if not self._waiting[key] or (len(self._waiting[key]) < self.size and idle > 0):
            return None
        taken, self._waiting[key] = self._waiting[key][: self.size], self._waiting[key][self.size :]
        return self._batches[key], taken


class _Question:
    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.answer: Pass | None = None
        self.error: Exception | None = None


class _Seat:
    """The place of one stack at a meeting; see `drupe.mlp.passes.Runs`."""

    def __init__(self, meeting: Meeting, stack: Potential) -> None:
        self._meeting, self.stack = meeting, stack

    def __call__(self, frame: Frame) -> Pass:
        return self._meeting.ask(self.stack, frame)


def _answer(batches: Batches, questions: "list[_Question]") -> None:
    try:
        for question, made in zip(questions, batches([one.frame for one in questions]), strict=True):
            question.answer = made
    except Exception as error:  # each thread that waits for this batch raises it
        for question in questions:
            question.error = error
