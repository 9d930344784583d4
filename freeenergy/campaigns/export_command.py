"""Export of a campaign: its folder in, Parquet files with the reduced potentials of each leg out."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from drupe.errors import InputError
from drupe.freeenergy.alchemical.leg_run import LegRun, leg_run
from drupe.freeenergy.alchemical.u_nk import u_nk
from drupe.freeenergy.tasks.runner import read_result
from drupe.store import Store

__all__ = ["export_u_nk", "read_runs"]


def export_u_nk(folder: Path, target: Path) -> list[Path]:
    """Write ``<leg>-repeat-<n>.parquet`` for every leg and repeat of a campaign.

    Parameters
    ----------
    folder
        Campaign folder of a run that has ended.
    target
        Folder for the files; made when it is not there.

    Returns
    -------
    list
        The files.

    Raises
    ------
    InputError
        If there is no campaign, it has not come to its end, a result is damaged or missing, or the target
        cannot be made.
    """
    runs = read_runs(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{target} cannot be a folder: {error.strerror}",
            remedy="give --u-nk a folder that can be written",
        ) from error
    made = []
    for (leg, repeat), run in runs.items():
        table = u_nk(run)
        table.columns = [str(state) for state in table.columns]  # Parquet names columns by text
        part, path = (target / f"{leg}-repeat-{repeat + 1}{end}" for end in (".part", ".parquet"))
        table.to_parquet(part, index=True)
        part.replace(path)
        made.append(path)
    return made


def read_runs(folder: Path) -> dict[tuple[str, int], LegRun]:
    """Read the alchemical legs of a campaign by leg and repeat, as its last run left them."""
    if not (folder / "campaign.sqlite").exists():
        raise InputError(
            f"{folder} holds no campaign (no campaign.sqlite)",
            remedy="give the folder that `drupe run` printed when it started",
        )
    found: dict[tuple[str, int], dict[str, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    with Store(folder) as store:
        keys = store.fact("rows")
        if not isinstance(keys, dict):
            raise InputError(
                f"no run of {folder} has come to its end", remedy="run the campaign to its end first"
            )
        for name, key in keys.items():
            match = re.fullmatch(r"(\w+)/(window|exchange)/(\d+)/(\d+)", name)
            if match is None:
                continue
            leg, kind, repeat, number = match.groups()
            row = store.row(key)
            if row is None or row.blob is None:
                raise InputError(
                    f"the result of {name} is damaged, missing or failed",
                    remedy="run the campaign again: what is damaged was put aside and is computed anew",
                )
            found[leg, int(repeat)][kind][int(number)] = read_result(store, row)
    if not found:
        raise InputError(f"{folder} holds no alchemical windows", remedy="give the folder of a campaign")
    return {
        where: leg_run(
            where[0],
            windows=[kinds["window"][k] for k in sorted(kinds["window"])],
            stretches=[kinds["exchange"][k] for k in sorted(kinds["exchange"])],
        )
        for where, kinds in found.items()
    }
