"""The NumPy model against the PyTorch and SpikingJelly oracle, on a model nobody has seen before.

python -m pytest -m oracles tests/test_oracle_live.py
"""

import numpy as np
import pytest
from test_spikebert_reference import assert_same_arrays, layer_spikes, run_numpy_model

pytestmark = pytest.mark.oracles

SHAPE = {"vocab": 31, "width": 32, "blocks": 3, "teacher_width": 20, "classes": 2}
SENTENCES, TOKENS = 4, 7


@pytest.fixture(scope="module")
def oracle():
    pytest.importorskip("torch")
    pytest.importorskip("spikingjelly")
    from oracles import spikebert_torch

    return spikebert_torch


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("tau", "steps", "v_th", "heads", "qkv_drive"),
    [(2.0, 4, 1.0, 8, 1.5), (1.5, 3, 0.7, 4, 0.5), (3.0, 6, 0.5, 8, 0.8)],
)
def test_fresh_model(oracle, tau, steps, v_th, heads, qkv_drive, backend):
    settings = {"tau": tau, "steps": steps, "v_th": v_th, "heads": heads, "scale": 0.125}
    for _ in range(50):
        seed = np.random.SeedSequence().entropy
        rng = np.random.default_rng(seed)
        params = oracle.random_params(rng, **SHAPE, qkv_drive=qkv_drive)
        ids = rng.integers(0, SHAPE["vocab"], (SENTENCES, TOKENS))  # (B, L)
        dlogits = rng.standard_normal((SENTENCES, SHAPE["classes"]))  # (B, C)
        dtaps = rng.standard_normal((SHAPE["blocks"], SENTENCES, TOKENS, SHAPE["teacher_width"]))
        expected = oracle.run_oracle(ids, params, dlogits, dtaps, **settings)
        if oracle.is_usable(expected):
            break
    else:
        pytest.fail("no usable model in 50 draws")
    print(f"seed {seed}")  # shown where the test fails

    def packed(x):  # (..., B, L, D) -> (..., N, D)
        return x.reshape(*x.shape[:-3], -1, x.shape[-1])

    offsets = np.arange(0, ids.size + 1, TOKENS, dtype=np.int64)  # (B+1,)
    out, cache, grads = run_numpy_model(
        ids.reshape(-1), offsets, params, dlogits, [packed(d) for d in dtaps], settings, backend
    )
    spikes = layer_spikes(cache)
    for layer, s in expected.spikes.items():
        np.testing.assert_array_equal(spikes[layer], packed(s), err_msg=layer)
    assert_same_arrays({"logits": out.logits}, {"logits": expected.logits})
    assert_same_arrays(dict(enumerate(out.taps)), dict(enumerate(map(packed, expected.taps))))
    assert_same_arrays(grads, expected.grads)
