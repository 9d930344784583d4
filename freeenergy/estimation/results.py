"""A free energy as a record: value and error in kT, the parts of the error, a verdict."""

import math
from dataclasses import dataclass
from typing import Any

from drupe.errors import InputError
from drupe.freeenergy.estimation.diagnostics import Verdict
from drupe.records import register

__all__ = ["FreeEnergy"]


def _without_residual(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 1 did not compare the potential with fresh labels."""
    return fields


def _without_terms(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 2 added sampling and replicate up over all terms before it took the larger."""
    return {**fields, "statistical": None}


@register(version=3, upgrades={1: _without_residual, 2: _without_terms})
@dataclass(frozen=True)
class FreeEnergy:
    """A free energy difference in kT with the named parts of its error and a verdict.

    A part that nobody estimated is None, never 0, and so is the sampling error of a number that is exact. A
    value that cannot be had from the data is nan, and the verdict says what is missing.

    ===========  ===================================================================
    field        meaning
    ===========  ===================================================================
    value        G_1 - G_0, kT
    verdict      PASS, WARN or FAIL with reasons
    method       estimator, in words
    sampling     error of the estimator (the larger of formula and bootstrap), kT
    replicate    standard deviation over independent repeats, kT
    model        spread over the members of a committee of potentials, kT
    label        error of the reference energies themselves, kT
    n_forward    works, or samples, that went in
    n_reverse    the same of the other direction
    provenance   what made the number: settings and seed
    residual     what reweighting to fresh labels would still change, with its own error, kT
    statistical  of a sum: the larger of sampling and replicate of each term, added up, kT
    ===========  ===================================================================
    """

    value: float
    verdict: Verdict
    method: str
    sampling: float | None = None
    replicate: float | None = None
    model: float | None = None
    label: float | None = None
    n_forward: int = 0
    n_reverse: int = 0
    provenance: str = ""
    residual: float | None = None
    statistical: float | None = None

    def __post_init__(self) -> None:
        for name in ("sampling", "replicate", "model", "label", "residual", "statistical"):
            part = getattr(self, name)
            if part is not None and not 0.0 <= part < math.inf:
                raise InputError(
                    f"the {name} error is {part} kT",
                    remedy="pass a standard error of at least 0, or None where it is not known",
                )

    @property
    def error(self) -> float:
        """Whole error in kT: statistical, model, label, residual in quadrature; nan if none is known.

        A value that does not exist has no error either, whatever parts are known.
        """
        if math.isnan(self.value):
            return math.nan
        parts = [part for part in (self.scatter, self.model, self.label, self.residual) if part is not None]
        return math.hypot(*parts) if parts else math.nan

    @property
    def scatter(self) -> float | None:
        """Statistical error, kT: of one number the larger of sampling and replicate; None if unknown."""
        if self.statistical is not None:
            return self.statistical
        return max((part for part in (self.sampling, self.replicate) if part is not None), default=None)
