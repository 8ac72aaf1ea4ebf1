"""Theoretical energy of one sentence, by three rules.

    literature     numbers: 4.6 pJ x operations
                   spikes:  0.9 pJ x mean spike count of the input x T x operations
    strict         4.6 pJ x MACs + 0.9 pJ x ACs: an input of 2 or more is multiplied, not added; and
                   q kᵀ, of which the literature counts each spike of q, adds where k fires too
    with memory    strict + 24.96 pJ x bytes: 4 a weight or bias, each as often as it is used, and
                   8 a membrane and step, read and written

4.6 and 0.9 pJ are a multiply-accumulate (MAC) and an accumulate (AC) of 32-bit floating point in
45 nm silicon (Horowitz 2014, doi 10.1109/ISSCC.2014.6757323). The literature's rule is that of
Spikformer (Zhou et al. 2023, arXiv 2209.15425) and SpikeBERT (Lv et al. 2023, arXiv 2308.15122): a
residual's 2 is two spikes, and two ACs. The bytes, and 24.96 pJ for one, are those of SpikingJelly
2.0.0 (`op_counter.SimpleEnergyProfiler`), with one difference: it takes a layer whose input holds a
single 2 as dense, its zeros too; here they cost nothing.

No hardware is measured; `benchmarks/joules.py` does that. `LEFT_OUT` says what no rule counts.
"""

PICOJOULES = {"MAC": 4.6, "AC": 0.9, "byte": 24.96}
NUMBER_BYTES = 4  # 32-bit floating point, as the prices

RULES = {"literature": "literature", "strict": "strict", "with_memory": "with memory"}
LEFT_OUT = {
    "literature": "that a residual's 2 or 3 is to be multiplied, and what the strict rule leaves "
    "out",
    "strict": "layer norms, neurons, the adding of biases and residuals, positions, pooling, "
    "softmax, GELU, finding what fires, and all memory",
    "with_memory": "the same arithmetic; activations, spikes, embeddings; and every cache: each "
    "token reads its weights anew, which a dense product need not do",
}


def energy_millijoules(macs, acs, moved=0.0):
    """Theoretical energy in mJ of multiply-accumulates, accumulates and bytes moved."""
    return (macs * PICOJOULES["MAC"] + acs * PICOJOULES["AC"] + moved * PICOJOULES["byte"]) * 1e-9


def bytes_moved(layer):
    """Of a LayerCount, a sentence."""
    return NUMBER_BYTES * (layer.weights + layer.biases + 2 * layer.neurons)


def layer_millijoules(layer):
    """{rule: theoretical energy of a LayerCount in mJ a sentence}"""
    numbers = layer.reads == "numbers"
    return {
        "literature": energy_millijoules(layer.operations if numbers else 0.0, layer.sops),
        "strict": energy_millijoules(layer.macs, layer.acs),
        "with_memory": energy_millijoules(layer.macs, layer.acs, bytes_moved(layer)),
    }


def millijoules(layers):
    """{rule: theoretical energy of all LayerCounts in mJ a sentence}"""
    each = [layer_millijoules(layer) for layer in layers]
    return {rule: sum(energies[rule] for energies in each) for rule in RULES}
