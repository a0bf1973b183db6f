"""The one forward pass: a shared trunk, and a head per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from yolor_mtl.models.trunks.base import Trunk
from yolor_mtl.records import Outputs


class Gleaner(nn.Module, ABC):
    """A head in two steps: what it takes from the rest of the network, without weights of its own, and what it says.

    While the head alone learns, the first step gives the same for a picture every time, and need not be repeated.
    """

    @abstractmethod
    def glean(self, features: Mapping[str, Tensor], read: Mapping[str, Outputs]) -> Outputs:
        """Features (R, C, H, W) and outputs of other heads to named tensors (R, ...) of sizes set by the frame's."""

    @abstractmethod
    def tell(self, gleaned: Mapping[str, Tensor], inputs: Mapping[str, Tensor] | None = None) -> Outputs:
        """The head's outputs, of what :meth:`glean` gave."""

    def forward(
        self,
        features: Mapping[str, Tensor],
        read: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Outputs:
        """One step after the other."""
        return self.tell(self.glean(features, read), inputs)


class Network(nn.Module):
    """A trunk and the heads handed in; knows no task.

    Args:
        trunk: images to named features.
        heads: task -> head with ``forward(features, read, inputs=None) -> Outputs``, in an order such that a head
            comes after those it reads.
        features: task -> names of the features its head reads.
        reads: task -> tasks whose outputs its head reads.
    """

    pixel_scale: Tensor

    def __init__(
        self,
        trunk: Trunk,
        heads: Mapping[str, nn.Module],
        features: Mapping[str, Collection[str]],
        reads: Mapping[str, Collection[str]],
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(heads)
        self.features = {task: tuple(features[task]) for task in heads}
        self.reads = {task: tuple(reads.get(task, ())) for task in heads}
        self.register_buffer("pixel_scale", torch.tensor(1 / 255), persistent=False)

    def forward(
        self,
        images: Tensor,
        tasks: Collection[str] | None = None,
        rows: Mapping[str, Tensor] | None = None,
        inputs: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Outputs]:
        """Runs the trunk once, then the asked heads and those they read.

        Args:
            images: (B, 3, H, W), uint8 in 0..255 or float in 0..1.
            tasks: tasks to run; all by default.
            rows: task -> (R,) rows of the batch that it sees, ascending, each once; all rows where a task is not named.
                A head does not run on no rows. What a head reads is worked out for its own rows, anew where they are
                others than those of the task it reads.
            inputs: task -> further named inputs of its head, such as the tokens of teacher forcing.

        Returns:
            Task -> raw outputs by name.
        """
        wanted = self.needed(self.heads.keys() if tasks is None else tasks)
        shared = self.trunk(self.normalise(images))
        outputs: dict[str, Outputs] = {}
        for task in wanted:
            seen = None if rows is None else rows.get(task)
            if seen is None or len(seen):
                outputs[task] = self._run(task, shared, seen, rows or {}, outputs, (inputs or {}).get(task))
        return outputs

    def _run(
        self,
        task: str,
        shared: Mapping[str, Tensor],
        seen: Tensor | None,
        rows: Mapping[str, Tensor],
        outputs: Mapping[str, Outputs],
        inputs: Mapping[str, Tensor] | None,
    ) -> Outputs:
        """One head on some rows, and before it what it reads that is not there for them."""
        features = {name: shared[name] if seen is None else _pick(shared[name], seen) for name in self.features[task]}
        batch = next(iter(shared.values())).shape[0]  # len() would tie an exported graph to one size
        read = {
            name: outputs[name]
            if name in outputs and _same(seen, rows.get(name), batch)
            else self._run(name, shared, seen, rows, {}, None)
            for name in self.reads[task]
        }
        out: Outputs = self.heads[task](features, read, inputs)
        return out

    def glean(self, images: Tensor, task: str) -> Outputs:
        """What a :class:`Gleaner` takes from the rest of the network.

        Args:
            images: as in :meth:`forward`.
            task: whose head.
        """
        head = self.heads[task]
        assert isinstance(head, Gleaner)
        shared = self.trunk(self.normalise(images))
        outputs: dict[str, Outputs] = {}
        for name in self.needed([task]):
            if name != task:
                outputs[name] = self._run(name, shared, None, {}, outputs, None)
        return head.glean({name: shared[name] for name in self.features[task]}, outputs)

    def inference(self) -> None:
        """Drops what only training needs, in place: branches of heads, and what the trunk made for them alone."""
        for task, head in self.heads.items():
            if callable(drop := getattr(head, "inference", None)):
                self.features[task] = tuple(dict.fromkeys(drop()))
        self.trunk.inference({name for names in self.features.values() for name in names})

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 pixels to 0..1 in the weights' layout; floats pass as they are."""
        if images.dtype == torch.uint8:
            images = images.to(self.pixel_scale.dtype) * self.pixel_scale
        return images.contiguous(memory_format=torch.channels_last)

    def needed(self, tasks: Collection[str]) -> list[str]:
        """The asked tasks and all that they read, in forward order."""
        wanted, queue = set(), list(tasks)
        while queue:
            task = queue.pop()
            if task in self.heads and task not in wanted:
                wanted.add(task)
                queue += self.reads[task]
        return [task for task in self.heads if task in wanted]


def _pick(feature: Tensor, rows: Tensor) -> Tensor:
    """Rows of a feature, ascending and each once; so the whole batch is known by its length and passes uncopied."""
    if len(rows) == len(feature):
        return feature
    return feature.index_select(0, rows)


def _same(rows: Tensor | None, others: Tensor | None, batch: int) -> bool:
    """Whether two choices of a batch's rows are one; ``None`` is all of them."""
    if rows is None or others is None:
        return all(chosen is None or len(chosen) == batch for chosen in (rows, others))
    return rows is others or torch.equal(rows, others)
