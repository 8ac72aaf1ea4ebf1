"""An Explanation as tables of text, for a terminal.

Letters: T spike steps, n tokens of one sentence.
"""

from unicodedata import east_asian_width

from .energy import RULES
from .firing import mean_firing_rate


def explanation_summary(explanation, classes):
    """The answer, its margin and what it cost. classes: a name for each."""
    cache, answer = explanation.cache, explanation.answer
    spikes = sum(float(counts.sum()) for counts in explanation.spikes.values())
    cut = ", all that the student takes: the rest was cut" if explanation.truncated else ""
    rules = ", ".join(f"{RULES[rule]} {mj:.3g}" for rule, mj in explanation.millijoules.items())
    return (
        f"answer   {classes[answer]}, probability {explanation.probabilities[answer]:.3f}\n"
        f"margin   {explanation.margin:.2f} logits over the next class\n"
        f"read     {len(explanation.tokens)} tokens{cut}\n"
        f"spikes   {spikes:,.0f}: {mean_firing_rate(cache):.1%} of the neurons fire\n"
        f"energy   {rules} mJ, theoretical: see spikebert energy"
    )


def parts_table(explanation, classes):
    """What each token adds to the margin, and the answer without it where that is another."""
    parts, answer = explanation.parts, explanation.answer
    top = abs(parts).max() or 1
    lines = ["what each token adds to the margin: that of the sentence, less that without it"]
    rows = zip(_names(explanation), parts, explanation.answers_without, strict=True)
    for name, part, without in rows:
        bar = ("-" if part < 0 else "+") * round(20 * abs(part) / top)
        other = "" if without == answer else f"without it: {classes[without]}"
        lines.append(f"{name}{part:+8.2f}  {bar:20}  {other}".rstrip())
    return "\n".join(lines)


def spikes_table(explanation):
    """The spikes of each layer for each token: a table a block, narrow enough for a terminal."""
    names = _names(explanation)
    tables = {}
    for layer, counts in explanation.spikes.items():
        # The encoder's one column stands in front of the first block's.
        block = "blocks.0" if layer == "encoder" else ".".join(layer.split(".")[:2])
        cells = [layer.rpartition(".")[2], *(f"{count:,.0f}" for count in counts)]
        tables.setdefault(block, []).append(cells)
    steps = explanation.cache.head.time.steps
    lines = [f"spikes of each layer for each token, over {steps} time steps"]
    for block, columns in tables.items():
        heads = [f"  {block}".ljust(len(names[0])), *names]
        for name, *cells in zip(heads, *columns, strict=True):
            lines.append(name + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


def attention_table(explanation, layer, head):
    """The map of one block and head, or of the sum of all (None), its columns numbered."""
    map_ = explanation.attention(layer, head)  # (n, n)
    cell = len(f"{max(map_.max(), len(map_)):.0f}") + 1
    names = [f"{i:4}{name}" for i, name in enumerate(_names(explanation))]
    heads = "all heads" if head is None else f"head {head}"
    lines = [
        f"attention of blocks.{layer}, {heads}: spikes that a row's query and a column's key share",
        " " * len(names[0]) + "".join(f"{i:{cell}}" for i in range(len(map_))),
    ]
    for name, row in zip(names, map_, strict=True):
        lines.append(name + "".join(f"{count:{cell}.0f}" for count in row))
    return "\n".join(lines)


def _names(explanation):
    """The tokens, indented, of one width on a terminal."""
    width = max(map(_places, [*explanation.tokens, "blocks.00"]))
    return [f"  {token}{' ' * (width - _places(token))}" for token in explanation.tokens]


def _places(text):
    """How many places of a terminal it fills: a Chinese letter takes two."""
    return len(text) + sum(east_asian_width(letter) in "WF" for letter in text)
