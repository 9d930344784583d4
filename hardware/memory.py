"""How much memory a run holds, its worker processes included."""

import psutil

__all__ = ["memory_of_tree_mb"]


def memory_of_tree_mb() -> float:
    """Resident memory of this process and of everything it started, in MB (2^20 bytes).

    Pages that processes share are counted in each, so this is an upper bound.
    """
    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # ended between the listing and the look
    return total / 2**20
