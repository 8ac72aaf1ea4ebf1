"""Writes tests/references/bert_tiny.npz: a small random BERT, and what transformers makes of it.

Run with torch, transformers and numpy installed:

    python tests/oracles/make_bert_reference.py

The weights are random float32 numbers, taken as float64; the sentences go in as one padded batch
with an attention mask, and only what stands at real tokens is kept: packed tokens must give the
same without padding or mask. Beside hidden states and logits stand the cross-entropy with LABELS
and its gradient by every parameter, in float64, by torch's autograd; without dropout.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import transformers

CONFIG = {
    "model_type": "bert",
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "num_labels": 3,
}
SENTENCES = [
    "the plot moves slowly but the ending is worth the wait",
    "dull",
    "not a single joke in this long film is funny",
    "funny and warm",
]
LABELS = [2, 0, 1, 2]


def encode(sentences):
    """Ids by first occurrence, between [CLS] = 1 and [SEP] = 2; 0 is the pad token."""
    words = dict.fromkeys(word for sentence in sentences for word in sentence.split())
    number = {word: 3 + i for i, word in enumerate(words)}
    return [[1, *(number[word] for word in sentence.split()), 2] for sentence in sentences]


def make():
    """File name -> its arrays."""
    rng = np.random.default_rng(20)
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(**CONFIG, attn_implementation="eager")
    )
    model = model.double().eval()
    with torch.no_grad():
        # Sizes that leave no part of the network flat: attention with contrast, gains and biases
        # that are not 1 and 0.
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embeddings." in name else 0.3
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            value = rng.normal(centre, scale, parameter.shape).astype(np.float32)
            parameter.copy_(torch.from_numpy(value).double())

    sentences = encode(SENTENCES)
    lengths = [len(ids) for ids in sentences]
    padded = torch.zeros(len(sentences), max(lengths), dtype=torch.long)
    for row, ids in zip(padded, sentences, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    output = model(
        padded,
        attention_mask=mask.long(),
        labels=torch.tensor(LABELS),
        output_hidden_states=True,
    )
    output.loss.backward()

    arrays = {
        f"tensor:{name}": value.numpy().astype(np.float32)
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    arrays |= {f"hidden_{i}": h[mask].detach().numpy() for i, h in enumerate(output.hidden_states)}
    arrays |= {f"grad:{name}": p.grad.numpy() for name, p in model.named_parameters()}
    versions = {name: version(name) for name in ("torch", "transformers", "numpy")}
    arrays |= {
        "config": np.array(json.dumps(CONFIG)),
        "versions": np.array(json.dumps(versions)),
        "ids": np.concatenate(sentences).astype(np.int32),
        "offsets": np.cumsum([0, *lengths]),
        "logits": output.logits.detach().numpy(),
        "labels": np.array(LABELS),
        "loss": output.loss.detach().numpy(),
    }
    return {"bert_tiny.npz": arrays}


def main():
    for name, arrays in make().items():
        np.savez_compressed(Path(__file__).parents[1] / "references" / name, **arrays)


if __name__ == "__main__":
    main()
