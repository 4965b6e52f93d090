"""Occlusion: by how much a logit falls when a window of the sequence is hidden. Zeiler and Fergus 2014 (1311.2901)."""

from __future__ import annotations

import torch
from torch import Tensor

from seqclass.models import Classifier

_RESIDUES = 1 << 17


def occlusion(
    model: Classifier, x: Tensor, reference: Tensor, mask: Tensor | None, columns: Tensor, window: int
) -> Tensor:
    """The mean fall of each target's logit over all windows that hide a residue, `(targets, batch, length)`.

    Args:
        model: In evaluation mode.
        x: `(batch, length, letters or numbers)` floats.
        reference: What a hidden window is replaced by, of the same shape.
        mask: `(batch, length)`, True at real residues, which come first; or None.
        columns: `(targets,)` of the logits.
        window: Residues hidden at a time; of a shorter sequence, all.
    """
    batch, length, _ = x.shape
    lengths = torch.full((batch,), length, device=x.device) if mask is None else mask.sum(dim=1)
    place = torch.arange(length, device=x.device)
    falls = torch.zeros(len(columns), batch, length, device=x.device)
    times = torch.zeros(batch, length, device=x.device)
    step = max(1, _RESIDUES // (batch * length))
    with torch.no_grad():
        before = model(x, mask)[:, columns]
        for starts in torch.split(torch.arange(max(1, length - window + 1), device=x.device), step):
            hidden = (place >= starts[:, None]) & (place < starts[:, None] + window)
            points = torch.where(hidden[:, None, :, None], reference, x)
            after = model(points.flatten(0, 1), None if mask is None else mask.repeat(len(starts), 1))
            fall = before - after[:, columns].view(len(starts), batch, -1)
            # Windows that reach into padding hide less: they count only where no other fits.
            counts = (starts[:, None] <= (lengths - window).clamp_min(0)).to(fall.dtype)
            falls += torch.einsum("wbt,wb,wl->tbl", fall, counts, hidden.to(fall.dtype))
            times += torch.einsum("wb,wl->bl", counts, hidden.to(fall.dtype))
    return falls / times.clamp_min(1)
