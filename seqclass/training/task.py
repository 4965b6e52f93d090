"""Classification as a Lightning task: loss, optimiser, schedule, validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from seqclass.bundle import Bundle
from seqclass.data.augment import Augmentation
from seqclass.data.labels import LabelLayout
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.predict import probabilities
from seqclass.training.apex import AmpLevel
from seqclass.training.averaging import STATISTICS_BATCHES, Averaging, WeightAverage, estimate_statistics
from seqclass.training.clipping import clip_adaptively, clip_to_norm
from seqclass.training.losses import LabelLoss, Loss
from seqclass.training.optimisers import Optimiser, build_optimiser, decayed_weights
from seqclass.training.schedules import Schedule
from seqclass.training.stages import stages
from seqclass.training.validation import Validated, ValidationAnswers


@dataclass
class Recipe:
    """How a model is trained.

    Args:
        learning_rate: The largest, of the head where rates differ by depth.
        optimiser: Which one, weight decay, and which weights learn how fast.
        schedule: How the learning rate rises and falls.
        loss: Which loss, and how rare and frequent labels are weighed.
        averaging: An average of the weights to keep in place of the last ones.
        adaptive_clip: No unit's gradient is longer than this share of its weights, as by Brock et al. 2021
            (arXiv:2102.06171); in place of `trainer.gradient_clip_val`. None for none.
        apex_norms: Layer norms are NVIDIA Apex's fused ones while training.
        apex_amp: Mixed precision is that of `apex.amp`, at this level, in place of `trainer.precision`.
        prior_from_train: Start the output biases from each target's share of positives in train.

    Raises:
        TrainingError: A number is out of range.
    """

    learning_rate: float = 1e-3
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    loss: Loss = field(default_factory=Loss)
    averaging: Averaging = field(default_factory=Averaging)
    adaptive_clip: float | None = None
    apex_norms: bool = False
    apex_amp: AmpLevel | None = None
    prior_from_train: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """A recipe from plain data, such as a configuration file holds."""
        parts = {"optimiser": Optimiser, "schedule": Schedule, "loss": Loss, "averaging": Averaging}
        return cls(**{key: parts[key](**value) if key in parts else value for key, value in options.items()})

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0 or (self.adaptive_clip is not None and self.adaptive_clip <= 0):
            raise TrainingError(
                f"a learning rate of {self.learning_rate} and gradients clipped at {self.adaptive_clip} of the weights",
                remedy="Let the rate be at least 0, and the share positive",
            )


class ClassificationTask(pl.LightningModule):
    """A classifier and its recipe: loss, optimiser, schedule, averages, and metrics on validation.

    Args:
        bundle: The model that is trained, with its targets.
        layout: What the labels of a batch mean.
        recipe: How.
        augmentation: Which residues are replaced while training.
        seed: Of what is replaced.
        known: Training samples of which it is known whether they carry each target, `(targets,)`; for a loss that
            balances labels.
        train_batches: Training batches anew, for batch normalisation under weights that are averaged evenly.

    Attributes:
        monitor: The metric on validation by which the best epoch is known: where targets are classes of a question,
            accuracy, and where all are yes or no, their mean average precision.
        learning_rate: The recipe's.
        validated: The answers on validation, from its end until callbacks have seen them.

    Raises:
        TrainingError: The loss is not defined for such targets.
    """

    def __init__(
        self,
        bundle: Bundle,
        layout: LabelLayout,
        recipe: Recipe,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        known: NDArray[np.int64] | None = None,
        train_batches: Callable[[], Iterable[Batch]] | None = None,
    ) -> None:
        super().__init__()
        self.bundle = bundle
        self.layout = layout
        self.model = bundle.model
        self.recipe = recipe
        self.learning_rate = recipe.learning_rate
        self.augmentation = augmentation or Augmentation()
        self.seed = seed
        self.train_batches = train_batches
        self.monitor = "valid/accuracy" if layout.exclusive else "valid/average_precision"
        self.loss = LabelLoss(layout, recipe.loss, np.asarray(bundle.train_positives, dtype=np.int64), known)
        self.plain_loss = LabelLoss(layout)
        self.average = WeightAverage(self.model, recipe.averaging) if recipe.averaging.wanted else None
        self._decayed = decayed_weights(self.model)
        self._seen_step = 0
        self.validated: Validated | None = None
        self._answers = ValidationAnswers(layout)

    @property
    def judged(self) -> Bundle:
        """The bundle that is validated and kept: of the weights' average where there is one."""
        return self.bundle if self.average is None else replace(self.bundle, model=self.average.model)

    def kept_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a checkpoint's weights, those of the bundle that is kept."""
        prefix = "model." if self.average is None else "average.model."
        return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

    def configure_optimizers(self) -> Any:
        fused = not self._scales_gradients
        optimiser = build_optimiser(self.recipe.optimiser, self.model, self.learning_rate, fused, self._decayed)
        total = self._total_steps
        every = self.recipe.optimiser.unfreeze_steps

        def rate(depth: int) -> Callable[[int], float]:
            first = 0 if every is None else depth * every
            return lambda step: self.recipe.schedule.factor(step, total) if step >= first else 0.0

        rates = [rate(group["depth"]) for group in optimiser.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _total_steps(self) -> int:
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise TrainingError(
                "the learning rate is planned to the last step, and there is none",
                remedy="Give --trainer.max_epochs or --trainer.max_steps",
            )
        return max(1, int(steps))

    @property
    def _scales_gradients(self) -> bool:
        return self.trainer.precision == "16-mixed"

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if self.recipe.adaptive_clip is not None:
            # The paper leaves the last layer alone.
            last = {id(weight) for _, weight in stages(self.model)[-1]}
            inner = [weight for weight in self.model.parameters() if id(weight) not in last]
            clip_adaptively(inner, self.recipe.adaptive_clip)
        # Lightning refuses to clip under a fused optimiser, in case that unscales gradients; here there is no scale.
        elif self._scales_gradients or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            clip_to_norm(self.trainer.strategy.model, self.model, gradient_clip_val)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        inputs = batch.inputs
        if not inputs.is_floating_point():
            when = self.current_epoch, number, self.global_rank
            inputs = self.augmentation.corrupt(inputs, self.bundle.alphabet, self.seed, *when)
        logits, penalty = self.model.penalised(inputs, batch.mask)
        loss: Tensor = self.loss(logits, batch) * batch.weight + penalty
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.packed))
        return loss

    def on_train_start(self) -> None:
        self._seen_step = self.global_step

    def on_train_batch_end(self, *_: Any) -> None:
        if self.global_step == self._seen_step:
            return  # gradients still add up
        self._seen_step = self.global_step
        self.model.constrain()
        if self.average is not None:
            self.average.update(self.model, self.global_step, self._total_steps)

    def on_validation_start(self) -> None:
        if self.average is not None and self.average.needs_statistics and self.train_batches is not None:
            estimate_statistics(self.average.model, islice(self.train_batches(), STATISTICS_BATCHES), self.device)

    def validation_step(self, batch: Batch, _: int) -> None:
        scores = probabilities(self.judged, batch.inputs, batch.mask).clamp(1e-7, 1 - 1e-7)
        # Sigmoid and softmax take these back to the probabilities, of which some are means over strands.
        logits = torch.logit(scores)
        for group in self.layout.exclusive:
            members = torch.from_numpy(self.layout.members(group)).to(scores.device)
            logits[:, members] = scores[:, members].log()
        loss = self.plain_loss(logits, batch)
        self.log("valid/loss", loss, batch_size=len(batch.packed), sync_dist=True)
        self._answers.add(scores, batch)

    def on_validation_epoch_end(self) -> None:
        self.validated = found = self._answers.finish(self._gather)
        if self.layout.exclusive:
            self.log("valid/accuracy", found.accuracy(), prog_bar=True)
        if len(self.layout.binary):
            counted = found.counted
            self.log("valid/average_precision", float(found.ranking.average_precision[counted].mean()), prog_bar=True)
            self.log("valid/auroc", float(found.ranking.auroc[counted].mean()))

    def on_validation_end(self) -> None:
        # Callbacks have seen it by now, and it is large.
        self.validated = None

    def _gather(self, values: Tensor) -> Tensor:
        """All ranks' rows; the shares differ in size by at most a row, so the shorter are padded for the exchange."""
        strategy = self.trainer.strategy
        if self.trainer.world_size == 1 or not values.shape[1]:
            return values
        counts = strategy.all_gather(torch.tensor(len(values), device=self.device)).flatten()
        padded = F.pad(values.to(self.device), (0, 0, 0, int(counts.max()) - len(values)))
        parts = zip(strategy.all_gather(padded).cpu(), counts.tolist(), strict=True)
        return torch.cat([part[:count] for part, count in parts])
