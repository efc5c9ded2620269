"""distillkit: experiments in distilling language models, with numbers that can be trusted."""

import os

# torch looks once, at its first tensor: large ones may lie in large pages, which Linux hands out in
# a fraction of the time. What the user said otherwise stays.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
