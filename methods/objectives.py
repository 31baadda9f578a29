"""Losses of the adaptation methods: pure functions of logits and unit embeddings.

Logits are similarities divided by the temperature, (B, N), over the gallery or over candidates.
Entropies are in nats. Everything is differentiable unless it says "constant".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REM_OFFSET = 0.001
"""Added to the threshold in the weight of the TCR repository's loss; the paper has none."""


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of each row's softmax; (B, N) -> (B,), nats."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is set; NaN where it is nowhere set.

    NaN is wanted: the base class skips an update whose loss is not finite, so an empty selection
    costs no look at the device and cannot touch the weights.
    """
    return torch.where(mask, values, 0.0).sum() / mask.sum()


def smallest_count(ratio: float, batch: int) -> int:
    """How many of a batch a ratio selects: int(ratio * B), at least one."""
    return max(1, int(ratio * batch))


def noise_robust_entropy(entropies: Tensor, threshold: Tensor, form: str = "repository") -> Tensor:
    """TCR's noise-robust entropy L_NA ("REM"), Li et al., ICLR 2025.

    Args:
        entropies: (B,) entropies E_i of the refined predictions.
        threshold: scalar E_m, the largest entropy among source-like pairs.
        form: "repository": mean over E_i <= E_m of max(0, 1 - E_i / (E_m + 0.001)) E_i;
            "paper": weight max(0, 1 - E_i / E_m), mean over those whose weight is not zero.

    Returns:
        Scalar; 0 where no query is selected. The weight is a constant.
    """
    if form == "repository":
        selected = entropies <= threshold
        weight = (1 - entropies.detach() / (threshold + REM_OFFSET)).clamp_min(0)
    else:
        floor = torch.finfo(entropies.dtype).tiny
        weight = (1 - entropies.detach() / threshold.clamp_min(floor)).clamp_min(0)
        selected = weight != 0
    total = torch.where(selected, weight * entropies, 0.0).sum()
    return total / selected.sum().clamp_min(1)


def uniformity(embeddings: Tensor, scale: float = 0.1) -> Tensor:
    """TCR's intra-modality uniformity L_MU: mean of exp(-t ||z_i - mean z||), mean not detached."""
    distances = (embeddings - embeddings.mean(dim=0)).norm(dim=1)
    return (-scale * distances).exp().mean()


def modality_gap(queries: Tensor, items: Tensor) -> Tensor:
    """Distance between the mean query and the mean item embedding, a scalar."""
    return (queries.mean(dim=0) - items.mean(dim=0)).norm()


def reliability(logits: Tensor) -> Tensor:
    """READ's confidence term L_ra: mean of -p ln p at each query's top probability."""
    top = logits.log_softmax(dim=1).amax(dim=1)
    return -(top.exp() * top).mean()


def balance(logits: Tensor, form: str = "softmax_of_sums") -> Tensor:
    """READ's balance term: sum_j d_j ln d_j, the negative entropy of the predictions' spread.

    Args:
        logits: (B, N).
        form: "softmax_of_sums" (paper and code): d is the softmax of the column sums of the
            probabilities; "mean": d is their column mean.
    """
    p = logits.softmax(dim=1)
    if form == "softmax_of_sums":
        return -entropy(p.sum(dim=0, keepdim=True)).sum()
    mean = p.mean(dim=0)
    # The floor lies far below any probability that matters; it keeps ln and its gradient finite.
    return (mean * mean.clamp_min(torch.finfo(mean.dtype).tiny).log()).sum()


def source_agreement(logits: Tensor, source_logits: Tensor) -> Tensor:
    """Mean KL divergence from the source model's (constant) predictions to the current ones.

    Its gradient is that of the cross-entropy with soft targets, as in ProGrad (T = 1).
    """
    target = source_logits.detach().log_softmax(dim=1)
    current = logits.log_softmax(dim=1)
    return functional.kl_div(current, target, reduction="batchmean", log_target=True)


def symmetric_cross_entropy(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Half the cross-entropy each way between the rows' predictions; (B, N) twice -> (B,)."""
    one, two = logits.log_softmax(dim=1), target_logits.log_softmax(dim=1)
    return -((two.exp() * one).sum(dim=1) + (one.exp() * two).sum(dim=1)) / 2
