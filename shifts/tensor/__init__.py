"""The image shifts on batches of tensors, on the CPU or a GPU.

``apply_batch`` corrupts a (B, 3, H, W) batch with the constants, options and item generators of
``shifts.image``. The single-item shifts there stay the reference; nothing in the harness calls this
package by itself.
"""

from shifts.tensor.apply import SUPPORTED, apply_batch, item_generators
from shifts.tensor.batch import Compute

__all__ = ["SUPPORTED", "Compute", "apply_batch", "item_generators"]
