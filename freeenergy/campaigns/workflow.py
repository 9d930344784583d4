"""A campaign as a graph of tasks: a `Config` in, nodes out.

Nodes stand in the order in which the longest chain wants them: snapshots, labels, fits, switches;
the alchemical windows, which wait for nothing of that, fill the gaps.
"""

from drupe.freeenergy.campaigns.config import Config
from drupe.freeenergy.campaigns.fit_nodes import fit_nodes
from drupe.freeenergy.campaigns.label_nodes import check_nodes, label_nodes
from drupe.freeenergy.campaigns.maker import Maker
from drupe.freeenergy.campaigns.sampling_nodes import restraint_nodes, sampling_nodes
from drupe.freeenergy.campaigns.switch_nodes import mixed_nodes, switch_nodes
from drupe.freeenergy.campaigns.torsion_nodes import torsion_nodes
from drupe.freeenergy.campaigns.window_nodes import window_nodes
from drupe.freeenergy.tasks.runner import Node

__all__ = ["campaign_graph"]


def campaign_graph(config: Config) -> list[Node]:
    """All tasks of a campaign, those that others wait for first."""
    make = Maker(config)
    nodes = [*sampling_nodes(make)]
    if config.corrected:
        nodes += label_nodes(make)
        nodes += fit_nodes(make)
        nodes += mixed_nodes(make)
        nodes += switch_nodes(make)
        nodes += check_nodes(make)
        nodes += torsion_nodes(make)
    return [*nodes, *restraint_nodes(make), *window_nodes(make)]
