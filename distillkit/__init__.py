"""distillkit: experiments in distilling language models, with numbers that can be trusted."""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# torch looks once, at its first tensor: large ones may lie in large pages (Linux), which the system
# hands out in a fifth of the time, unless the user said otherwise.

__version__ = "0.1.0"
