"""The NumPy BERT against transformers: a small random one, stored, and MiniLM, live."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from spikebert_np.errors import InputError
from spikebert_np.models.bert import BertConfig, bert_forward
from spikebert_np.models.bert_checkpoint import load_bert

REFERENCE = np.load(Path(__file__).parent / "references" / "bert_tiny.npz", allow_pickle=False)
IDS, OFFSETS = REFERENCE["ids"], REFERENCE["offsets"]
CONFIG = json.loads(str(REFERENCE["config"]))
TENSORS = {
    name.removeprefix("tensor:"): REFERENCE[name] for name in REFERENCE if name[:7] == "tensor:"
}


def write_directory(folder, tensors=TENSORS, **config):
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    # A transposed tensor must be made contiguous: safetensors writes the memory as it lies.
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


def without_prefix(tensors):
    return {name.removeprefix("bert."): value for name, value in tensors.items()}


def with_old_norm_names(tensors):
    def old(name):
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        return name.replace("LayerNorm.bias", "LayerNorm.beta")

    return {old(name): value for name, value in tensors.items()}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("names", [dict, without_prefix, with_old_norm_names])
def test_stored_reference(tmp_path, names, backend):
    config, params = load_bert(write_directory(tmp_path, names(TENSORS)), dtype=np.float64)
    output, _ = bert_forward(IDS, OFFSETS, params, config, backend=backend)
    hidden = [output.embeddings, *output.hidden]
    for i, value in enumerate(hidden):
        expected = REFERENCE[f"hidden_{i}"]
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10)
        assert expected.std() > 0.5
    np.testing.assert_allclose(output.logits, REFERENCE["logits"], rtol=0, atol=1e-10)


def test_float32_and_no_head(tmp_path):
    encoder = {name: TENSORS[name] for name in TENSORS if "pooler" not in name}
    config, params = load_bert(write_directory(tmp_path, encoder))
    output, _ = bert_forward(IDS, OFFSETS, params, config)
    assert config.classes == 0
    assert output.logits is None
    assert output.hidden[-1].dtype == np.float32
    assert np.abs(output.hidden[-1] - REFERENCE["hidden_2"]).max() < 1e-5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_bert(write_directory(tmp_path_factory.mktemp("bert")), dtype=np.float64)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=16), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_a_batch_is_its_sentences_one_by_one(tiny, sentences, random):
    config, params = tiny
    random.shuffle(sentences)
    batch, _ = bert_forward(
        np.concatenate(sentences), np.cumsum([0, *map(len, sentences)]), params, config
    )
    ones = [bert_forward(np.array(s), np.array([0, len(s)]), params, config)[0] for s in sentences]
    last = np.concatenate([one.hidden[-1] for one in ones])
    np.testing.assert_allclose(batch.hidden[-1], last, rtol=0, atol=1e-12)
    logits = np.concatenate([one.logits for one in ones])
    np.testing.assert_allclose(batch.logits, logits, rtol=0, atol=1e-12)


def drop(name):
    return {key: value for key, value in TENSORS.items() if key != name}


QUERY = "bert.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("tensors", "config", "named"),
    [
        (TENSORS, {"model_type": "roberta"}, "model_type"),
        (TENSORS, {"hidden_act": "relu"}, "hidden_act"),
        (TENSORS, {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        (TENSORS, {"num_attention_heads": 5}, "num_attention_heads"),
        (TENSORS, {"num_hidden_layers": "2"}, "num_hidden_layers"),
        (TENSORS, {"num_hidden_layers": 3}, "encoder.layer.2"),
        (TENSORS, {"intermediate_size": 65}, "intermediate.dense.weight"),
        (drop(QUERY), {}, QUERY),
        (TENSORS | {QUERY: TENSORS[QUERY][:-1]}, {}, QUERY),
        (TENSORS | {QUERY: TENSORS[QUERY].astype(np.int32)}, {}, QUERY),
        (drop("classifier.bias"), {}, "classifier.bias"),
        (TENSORS | {QUERY: np.full_like(TENSORS[QUERY], np.nan)}, {}, f"{QUERY} holds numbers"),
        (TENSORS, {"num_hidden_layers": 10**9}, "too few for the 1000000000 blocks"),
        (TENSORS, {"layer_norm_eps": 10**400}, "too large"),
        (TENSORS, {"layer_norm_eps": float("nan")}, "epsilon"),
        (TENSORS, {"layer_norm_eps": 0}, "epsilon"),
    ],
)
def test_another_model_is_refused_by_name(tmp_path, tensors, config, named):
    write_directory(tmp_path, tensors, **config)
    with pytest.raises(InputError, match=named) as error:
        load_bert(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_bfloat16_is_refused_with_a_way_out(tmp_path):
    write_directory(tmp_path)
    header, data = {}, b""
    for name, value in TENSORS.items():
        half = (value.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        span = [len(data), len(data) + len(half)]
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": span}
        data += half
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(InputError, match=r"is BF16 .*; load and save it once with transformers"):
        load_bert(tmp_path)


def test_half_precision_and_a_single_output(tmp_path):
    """A head with one output rates, it does not classify: the encoder is read, the head is not."""
    tensors = {name: value.astype(np.float16) for name, value in TENSORS.items()}
    tensors |= {
        f"classifier.{part}": tensors[f"classifier.{part}"][:1] for part in ("weight", "bias")
    }
    config, params = load_bert(write_directory(tmp_path, tensors | {"more": np.zeros(3)}))
    output, _ = bert_forward(IDS, OFFSETS, params, config)
    assert config.classes == 0
    assert output.hidden[-1].dtype == np.float32
    assert np.abs(output.hidden[-1] - REFERENCE["hidden_2"]).max() < 1e-2


def test_missing_and_broken_files_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        load_bert(tmp_path)
    for damaged in ("{", "[]", "[" * 100_000):
        (tmp_path / "config.json").write_text(damaged)
        with pytest.raises(InputError, match=r"config\.json: .*JSON"):
            load_bert(tmp_path)
    write_directory(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole"):
        load_bert(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        load_bert(tmp_path)


def test_too_long_a_sentence_is_refused(tiny):
    config, params = tiny
    with pytest.raises(ValueError, match="17 tokens"):
        bert_forward(np.zeros(17, int), np.array([0, 17]), params, config)


def test_weights_are_turned_once(tmp_path):
    """A square weight hides a missing transposition from every check of shapes."""
    config, params = load_bert(write_directory(tmp_path), dtype=np.float64)
    assert config == BertConfig(40, 32, 2, 4, 64, 16, 2, 1e-5, classes=3)
    stored = load_file(tmp_path / "model.safetensors")[QUERY]
    np.testing.assert_array_equal(params["blocks.1.attention.q.weight"], stored.T)


@pytest.mark.oracles
def test_minilm_on_fifty_real_sentences():
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from spikebert_np.data.pretrained import resolve_teacher
    from spikebert_np.data.readers import read_corpus
    from spikebert_np.data.tokenizer import encode_texts, load_tokenizer

    try:
        folder = resolve_teacher("minilm")
    except InputError as missing:
        pytest.skip(str(missing))
    if "SPIKEBERT_DATA" not in os.environ:
        pytest.skip("SPIKEBERT_DATA does not name the folder of corpora")
    texts = read_corpus(Path(os.environ["SPIKEBERT_DATA"]) / "sst2")["dev"].texts[:50]
    ids, offsets, _ = encode_texts(load_tokenizer(folder), texts)
    config, params = load_bert(folder)
    output, _ = bert_forward(ids, offsets, params, config, backend="numba")
    ours = np.stack([output.embeddings, *output.hidden])

    model = transformers.BertModel.from_pretrained(folder).eval()
    lengths = torch.from_numpy(np.diff(offsets))
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    padded = torch.zeros(mask.shape, dtype=torch.long)
    padded[mask] = torch.from_numpy(ids).long()
    with torch.no_grad():
        states = model(padded, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    theirs = np.stack([state[mask].numpy() for state in states])
    error = np.abs(ours - theirs).max(axis=(1, 2))
    print(f"largest |ours - transformers| by layer: {error}, of values to {np.abs(theirs).max()}")
    assert error.max() < 2e-5
