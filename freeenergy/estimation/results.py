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


@register(version=2, upgrades={1: _without_residual})
@dataclass(frozen=True)
class FreeEnergy:
    """A free energy difference in kT with the named parts of its error and a verdict.

    A part that nobody estimated is None, never 0. A value that cannot be had from the data is nan,
    and the verdict says what is missing.

    ==========  ====================================================================
    field       meaning
    ==========  ====================================================================
    value       G_1 - G_0, kT
    verdict     PASS, WARN or FAIL with reasons
    method      estimator, in words
    sampling    error of the estimator (the larger of formula and bootstrap), kT
    replicate   standard deviation over independent repeats, kT
    model       spread over the members of a committee of potentials, kT
    label       error of the reference energies themselves, kT
    n_forward   works, or samples, that went in
    n_reverse   the same of the other direction
    provenance  what made the number: settings and seed
    residual    what reweighting to fresh labels would still change, with its own error, kT
    ==========  ====================================================================
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

    def __post_init__(self) -> None:
        for name in ("sampling", "replicate", "model", "label", "residual"):
            part = getattr(self, name)
            if part is not None and part < 0.0:
                raise InputError(f"the {name} error is {part} kT", remedy="pass a standard error, >= 0")

    @property
    def error(self) -> float:
        """Whole error in kT: max(sampling, replicate), model, label, residual in quadrature; nan if none.

        A value that does not exist has no error either, whatever parts are known.
        """
        if math.isnan(self.value):
            return math.nan
        statistical = [part for part in (self.sampling, self.replicate) if part is not None]
        parts = [max(statistical)] if statistical else []
        parts += [part for part in (self.model, self.label, self.residual) if part is not None]
        return math.hypot(*parts) if parts else math.nan
