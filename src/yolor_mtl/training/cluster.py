"""Which of several processes this is, said to Lightning."""

from __future__ import annotations

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

from yolor_mtl.ops.ranks import Place


class Cluster(ClusterEnvironment):
    """Processes that ``torchrun`` or ``srun`` has started, or one that nobody has.

    Lightning has environments of its own. That for SLURM takes a batch script for one of as many processes as the job
    was granted, and queues the job anew at a signal; here the state is kept, and the rest is its owner's affair.

    Args:
        here: this process.
    """

    def __init__(self, here: Place) -> None:
        self._here = here

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Where the first process is."""
        return self._here.address

    @property
    def main_port(self) -> int:
        """Where it listens."""
        return self._here.port

    @staticmethod
    def detect() -> bool:
        """Never found by Lightning, only given to it."""
        return False

    def world_size(self) -> int:
        """Number of processes."""
        return self._here.world

    def set_world_size(self, size: int) -> None:
        """It is what it is."""

    def global_rank(self) -> int:
        """This one's number."""
        return self._here.rank

    def set_global_rank(self, rank: int) -> None:
        """It is what it is."""

    def local_rank(self) -> int:
        """Its number on its machine, which is that of its GPU."""
        return self._here.local_rank

    def node_rank(self) -> int:
        """The machine's number."""
        return self._here.node
