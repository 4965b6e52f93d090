"""Language modelling as a Lightning task: letters are guessed, the next one or hidden ones, and a letter costs bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from seqclass.alphabets import get_alphabet
from seqclass.blocks import Memory
from seqclass.data.augment import hide_letters
from seqclass.data.loader import Batch
from seqclass.errors import TrainingError
from seqclass.models import MaskedResidueLM, TransformerXLLM, letter_loss
from seqclass.models.language import UNCOUNTED
from seqclass.training.clipping import clip_to_norm
from seqclass.training.optimisers import Optimiser, build_optimiser, decayed_weights
from seqclass.training.processes import gather_objects
from seqclass.training.schedules import Schedule

LanguageModel = TransformerXLLM | MaskedResidueLM

# Which letters of samples that are not trained on are hidden is the same in all runs.
_SEED = 0


@dataclass
class LanguageRecipe:
    """How a language model is trained, with AdamW.

    Args:
        learning_rate: The largest.
        weight_decay: Of all weights but biases and norms.
        schedule: How the learning rate rises and falls.
        hidden: Share of the letters that a model which sees both sides has to guess.

    Raises:
        TrainingError: A number is out of range.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = field(default_factory=Schedule)
    hidden: float = 0.15

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0 or not self.weight_decay >= 0 or not 0 < self.hidden < 1:
            raise TrainingError(
                f"a learning rate of {self.learning_rate}, weight decay of {self.weight_decay} and a share of "
                f"{self.hidden} hidden letters",
                remedy="Let rate and decay be at least 0, and the share between 0 and 1",
            )


class Guesses(NamedTuple):
    """What a model says of letters.

    Attributes:
        logits: `(batch, length, letters)`.
        letters: `(batch, length)` int64, those to be guessed; `UNCOUNTED` elsewhere.
        memory: For the next segment; None of a model that sees both sides.
    """

    logits: Tensor
    letters: Tensor
    memory: Memory | None

    @property
    def bits(self) -> Tensor:
        """What each letter costs, `(batch, length)`: -log2 of its probability, 0 where it is not counted."""
        logits, letters = self.logits.float().transpose(1, 2), self.letters
        return F.cross_entropy(logits, letters, ignore_index=UNCOUNTED, reduction="none") / math.log(2)


def guess(model: LanguageModel, batch: Batch, memory: Memory | None, hidden: float, seed: int, *when: int) -> Guesses:
    """Lets a model guess the letters of a batch.

    Args:
        model: One that guesses the next letter gets `(rows, segment + 1)` tokens, and its memory.
        batch: On the model's device.
        memory: What the segments before left, None before the first.
        hidden: Share of the letters hidden from a model that sees both sides.
        seed: With `when`, decides which.
        when: Such as epoch and batch.
    """
    tokens = batch.inputs
    if isinstance(model, TransformerXLLM):
        segment = tokens[:, :-1]
        logits, memory = model(segment, None, memory)
        return Guesses(logits, model.next_letters(segment, None, tokens[:, -1]), memory)
    shown = hide_letters(tokens, batch.mask, get_alphabet(model.alphabet), seed, *when, share=hidden)
    return Guesses(model(shown.tokens, batch.mask), tokens.long().masked_fill(~shown.chosen, UNCOUNTED), None)


class LanguageTask(pl.LightningModule):
    """A language model and its recipe. All losses are bits a letter.

    The memory of a model that guesses the next letter goes from batch to batch, and into checkpoints.

    Args:
        model: That is trained.
        recipe: How.
        seed: Of what is hidden.

    Attributes:
        monitor: What is to be large on validation: mean log2-likelihood of a letter, the loss with a minus.
    """

    monitor = "valid/log_likelihood"

    def __init__(self, model: LanguageModel, recipe: LanguageRecipe, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.seed = seed
        self._decayed = decayed_weights(model)
        self._memory: Memory | None = None
        self._valid_memory: Memory | None = None
        self._totals = torch.zeros(3, dtype=torch.float64)

    def configure_optimizers(self) -> Any:
        options = Optimiser(weight_decay=self.recipe.weight_decay)
        fused = not self._scales_gradients
        optimiser = build_optimiser(options, self.model, self.recipe.learning_rate, fused, self._decayed)
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise TrainingError(
                "the learning rate is planned to the last step, and there is none",
                remedy="Give --trainer.max_epochs or --trainer.max_steps",
            )

        def factor(step: int) -> float:
            return self.recipe.schedule.factor(step, max(1, int(total)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _scales_gradients(self) -> bool:
        return self.trainer.precision == "16-mixed"

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning refuses to clip under a fused optimiser, in case that unscales gradients; here there is no scale.
        if self._scales_gradients or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            clip_to_norm(self.trainer.strategy.model, self.model, gradient_clip_val)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        memory = None if number == 0 or self._memory is None else _moved(self._memory, self.device)
        when = self.current_epoch, number, self.global_rank
        found = guess(self.model, batch, memory, self.recipe.hidden, self.seed, *when)
        self._memory = found.memory
        loss = letter_loss(found.logits, found.letters, "bits") * batch.weight
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.inputs))
        return loss

    def on_validation_start(self) -> None:
        self._valid_memory = None
        self._totals = torch.zeros(3, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, number: int) -> None:
        found = guess(self.model, batch, self._valid_memory, self.recipe.hidden, _SEED, number, self.global_rank)
        self._valid_memory = found.memory
        self._totals += totals(found)

    def on_validation_epoch_end(self) -> None:
        bits, right, count = self.trainer.strategy.reduce(self._totals, reduce_op="sum").tolist()
        if not count:
            raise TrainingError(
                "no letter of the validation samples is to be guessed", remedy="Import it again with a larger split"
            )
        self.log("valid/loss", bits / count)
        self.log("valid/log_likelihood", -bits / count)
        self.log("valid/accuracy", right / count, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        memory = self._memory
        ours = None if memory is None else (memory.states.cpu(), None if memory.mask is None else memory.mask.cpu())
        checkpoint["memory"] = gather_objects(self.trainer, ours)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        ours = checkpoint["memory"][self.trainer.global_rank]
        self._memory = None if ours is None else Memory(*ours)


def totals(found: Guesses) -> Tensor:
    """Bits, letters guessed right, and letters: `(3,)` float64."""
    counted = found.letters != UNCOUNTED
    right = (found.logits.argmax(dim=-1) == found.letters) & counted
    return torch.stack([part.sum(dtype=torch.float64) for part in (found.bits, right, counted)])


def _moved(memory: Memory, device: torch.device) -> Memory:
    return Memory(memory.states.to(device), None if memory.mask is None else memory.mask.to(device))
