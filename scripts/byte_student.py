"""A student whose tokens are bytes: random weights, 256 bytes and an end, ``outputs/models/bytes``.

    python -m scripts.byte_student

It shares no tokenizer with any model, so that it learns from a teacher by text alone, or by
``support=aligned`` and its like.
"""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from distillkit.core.files import new_folder

FOLDER = Path("outputs/models/bytes")
CONTEXT = 1024


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and two that are none."""
    controls = ["<pad>", "<eos>"]
    alphabet = [*controls, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in controls])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def write(folder: Path, *, width: int = 128, layers: int = 3, seed: int = 0) -> None:
    """A random Llama of that shape with the tokenizer, as ``from_pretrained`` reads them."""
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    module = LlamaForCausalLM(config)
    with new_folder(folder) as place:
        module.save_pretrained(place)
        tokenizer.save_pretrained(place)


if __name__ == "__main__":
    if not FOLDER.exists():
        write(FOLDER)
    print(f"{FOLDER} is there")
