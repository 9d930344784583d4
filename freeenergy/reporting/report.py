"""The report of a campaign: a campaign record goes in, report.html and report.json come out.

Inside everything is in atomic units and kT; kcal/mol, kJ/mol and angstrom begin here.
"""

import json as json_format
import os
from pathlib import Path

from drupe.freeenergy.outcomes.campaign import CampaignResult
from drupe.freeenergy.outcomes.summary import Summary, summarise
from drupe.freeenergy.reporting.data import tree
from drupe.freeenergy.reporting.page import page

__all__ = ["CampaignResult", "write_report"]


def write_report(result: CampaignResult, html: Path, json: Path) -> Summary:
    """Write the page and its numbers; both files appear whole or not at all.

    Parameters
    ----------
    result
        The campaign. Free energies and verdicts are computed from its works, not read from it.
    html
        Path of the self-contained page.
    json
        Path of the same numbers as data.

    Returns
    -------
    Summary
        The headline that was written.
    """
    summary = summarise(result)
    _write(html, page(result, summary))
    _write(
        json, json_format.dumps(tree(result, summary), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )
    return summary


def _write(path: Path, text: str) -> None:
    """Write beside the file, flush to disk, then rename over it."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
