"""Theoretical energy as lines of text: layer by layer, and one network beside another."""

from textwrap import fill

from .energy import LEFT_OUT, RULES, energy_millijoules, layer_millijoules, millijoules

# Charge, square, normalise, gain: what a neuron and the layer norm before it multiply in a step.
NEURON_MACS = 4
_PUBLISHED = "published: SpikeBERT of BERT-base"
PUBLISHED_SHARE = 0.278  # SpikeBERT of BERT, mean over the tasks of arXiv 2308.15122


def layer_table(layers):
    """A line a layer, with its counts and its energy by each rule, and the total."""
    lines = [
        "theoretical energy a sentence by layer, µJ",
        f"{'':26}{'operations':>12}{'x steps':>9}{'spike count':>13}{_heads()}",
    ]
    for layer in layers:
        spikes = "-" if layer.spike_count is None else f"{layer.spike_count:.4f}"
        lines.append(
            f"{layer.name:26}{layer.operations:12,.0f}{layer.steps:9}{spikes:>13}"
            + _cells(layer_millijoules(layer), ".4f", 1e3)
        )
    return "\n".join(
        [*lines, f"{'total, theoretical':60}{_cells(millijoules(layers), '.4f', 1e3)}"]
    )


def comparison_table(student, networks):
    """The student, a line each of the other networks, and the student's share of it.

    student: LayerCounts; networks: {name: LayerCounts}.
    """
    own = millijoules(student)
    wide = max(map(len, [_PUBLISHED, *networks])) + 2
    lines = [f"{'theoretical energy a sentence, mJ':{wide}}{_heads()}"]
    lines.append(f"{'student':{wide}}{_cells(own)}")
    for name, layers in networks.items():
        energies = millijoules(layers)
        shares = "".join(f"{share:13.1%}" for share in shares_of(own, energies).values())
        lines += [f"{name:{wide}}{_cells(energies)}", f"{'  student of it':{wide}}{shares}"]
    return "\n".join([*lines, f"{_PUBLISHED:{wide}}{PUBLISHED_SHARE:13.1%} on average"])


def shares_of(energies, others):
    """{rule: the share of the others' energy}"""
    return {rule: energies[rule] / others[rule] for rule in RULES}


def left_out(layers):
    """What each rule leaves out, and how much the neurons of these layers would add to it."""
    lines = [f"{RULES[rule]:13}{text}" for rule, text in LEFT_OUT.items()]
    updates = sum(layer.neurons for layer in layers)
    sums = energy_millijoules(0.0, sum(layer.acs for layer in layers))
    lines.append(
        f"{'neurons':13}are not little where few fire: {updates:,.0f} updates a sentence, at "
        f"{NEURON_MACS} MACs each with the layer norm before it, would add "
        f"{energy_millijoules(NEURON_MACS * updates, 0.0):.2g} mJ (theoretical); all accumulates "
        f"of the strict rule together are {sums:.2g} mJ."
    )
    indent = {"initial_indent": "  ", "subsequent_indent": " " * 15}
    return "\n".join(["what each rule leaves out", *(fill(line, 99, **indent) for line in lines)])


def _heads():
    return "".join(f"{name:>13}" for name in RULES.values())


def _cells(energies, form=".4g", factor=1.0):
    return "".join(f"{factor * energies[rule]:13{form}}" for rule in RULES)
