"""The mistakes that a backward pass is made with, by name, each with the sentence that explains it.

The mutants are named by it, and so are the diagnoses. A name may end in a detail after a colon:
`left out: lif`.
"""

MISTAKES = {
    # sums, shapes and factors, anywhere
    "sign flipped": "the gradient has the right size and points the wrong way",
    "gradient missing": "the gradient is zero everywhere: it was never written, or was overwritten",
    "transposed": "the array is the transpose of the right one: x.T @ dy, not dy.T @ x",
    "gradients swapped": "two gradients are right but returned in each other's place",
    "constant factor": "the gradient is right but for one number that multiplies all of it",
    "last step only": "a parameter (or current) that all time steps read collects the gradient "
    "of each of them; here only the last step's arrived: sum over T",
    "first step only": "a parameter that all time steps read collects the gradient of each of "
    "them; here only the first step's arrived: sum over T",
    "averaged, not summed": "a parameter's gradient is the sum over all rows that read it, not "
    "their mean",
    "not reshaped": "the numbers are right, and the shape is not: give the gradient the shape of "
    "its array",
    "not summed": "the array still has the leading axes that should have been summed over",
    "upstream added": "the chain rule multiplies: the upstream gradient was added to the local "
    "derivative (or to the result) instead",
    "upstream ignored": "the local derivative was returned without the upstream gradient",
    "passed straight through": "the upstream gradient was handed on as it came",
    "right at the last step only": "t = T-1 is right and every earlier step wrong: what the "
    "next step carries back is at fault, the leak 1 - 1/tau or the reset",
    "wrong at the last step too": "nothing is carried into t = T-1: the slope at H - v_th, or "
    "the input's factor, is wrong already there",
    "wrong only where a neuron fired": "every membrane below the threshold is right: look at the "
    "reset, and at the slope's branch for u >= 0",
    "right for the input only": "the first array is right and these are not: what is handed back "
    "is right, what is collected for a parameter is not",
    "steps without gradient": "some time steps' gradients are zero: the loop over t does not "
    "reach them",
    "one sentence right": "some sentences are right and others wrong: look at `offsets`",
    "first token only": "only the first token of each sentence is wrong (or alone is right): "
    "look at where offsets start and stop",
    "last token only": "only the last token of each sentence is wrong (or alone is right): look "
    "at where offsets stop",
    "missing a constant along the last axis": "the array and the right one differ by one number "
    "a row: a mean over the last axis was not subtracted",
    # linear
    "weight not transposed": "y = x W takes the gradient back by the transpose: dx = dy Wᵀ",
    "input left out": "dW = xᵀ dy: each row of the weight's gradient is multiplied by its input",
    # layer norm
    "mean term missing": "every x moves its row's mean: mean(dx_hat) must be subtracted",
    "variance term missing": "every x moves its row's variance: x_hat mean(dx_hat x_hat) must "
    "be subtracted",
    "mean added, not subtracted": "both means are subtracted: dx_hat - mean(dx_hat) - "
    "x_hat mean(dx_hat x_hat)",
    "sums for means": "the row's statistics are means: their terms are divided by the width D",
    "x_hat missing from the variance term": "x_hat stands in it twice, inside the mean and before "
    "it: x_hat mean(dx_hat x_hat)",
    "gain applied last": "the gain enters before the means are taken: dx_hat = dy gain, and dx "
    "from dx_hat alone",
    "variance term without the gain": "the variance's term is built from dx_hat = dy gain, as the "
    "mean's is, not from dy",
    "mean term without the gain": "the mean's term is built from dx_hat = dy gain, as the "
    "variance's is, not from dy",
    "statistics held constant": "mean and variance move with x: both means must be subtracted",
    "gain left out": "x_hat reaches y through the gain: dx_hat = dy gain",
    "1/std left out": "x_hat = centred / std, so dx is divided by the standard deviation too",
    "1/std twice": "the division by the standard deviation was done twice",
    "times std, not 1/std": "x_hat = centred / std: dx is divided by the standard deviation",
    "variance divided by D - 1": "the variance is divided by D here, and so is its gradient's mean",
    "normalised over tokens": "layer norm's means run over the width of one token, not over tokens",
    "given statistics moved": "a mean and a variance that were given are constants: nothing is "
    "subtracted for them",
    "normalised over the width": "batch norm's means run over all steps and tokens, one channel at "
    "a time, not over the width of one token",
    "gain gradient without x_hat": "y = gain x_hat: dgain multiplies dy by x_hat before the sum",
    "gain gradient with the scaled x_hat": "dgain multiplies dy by x_hat, not by gain x_hat",
    # LIF
    "nothing carried back": "H[t] holds (1 - 1/tau) V[t-1]: without that path no gradient "
    "travels back in time",
    "1/tau for 1 - 1/tau": "V keeps 1 - 1/tau of itself; 1/tau is the share of the input (the "
    "two agree at tau = 2 alone)",
    "leak of 1": "V keeps only 1 - 1/tau of itself from step to step: the factor is missing",
    "reset factor missing": "a hard reset keeps V = (1 - S) H: where a neuron fired, the "
    "carried gradient is multiplied by 1 - S",
    "reset factor of another step": "the gradient that arrives at V[t] passes the reset of step t: "
    "1 - S[t], not a neighbour's",
    "carried gradient left out": "H reaches the loss by V too: dH holds dV (1 - S) beside the "
    "spike's dS",
    "1 - S on the reset's path": "a hard reset's dV/dS is v_reset - H: 1 - S belongs to dV/dH "
    "alone",
    "reset factor inverted": "a hard reset lets the gradient through where the neuron did not "
    "fire: 1 - S, not S",
    "reset attached": "the reset is detached: S is a constant there and no gradient flows "
    "through it",
    "reset detached": "the reset is attached: V depends on H through S too, a term dV/dS times "
    "the surrogate",
    "reset's sign": "a spike lowers V: the path through the reset enters with a minus",
    "soft reset's term for a hard one": "a hard reset's dV/dS is v_reset - H, a soft one's -v_th",
    "hard reset's term for a soft one": "a soft reset's dV/dS is -v_th, a hard one's v_reset - H",
    "v_reset forgotten": "a hard reset's dV/dS is v_reset - H, not -H",
    "surrogate at V": "the neuron fires on H, before the reset: the surrogate's slope is taken "
    "at H - v_th, not at V - v_th",
    "surrogate without the threshold": "the surrogate's slope is taken at H - v_th, not at H",
    "surrogate left out": "S = Θ(H - v_th): the upstream gradient is multiplied by the "
    "surrogate's slope",
    "alpha left out": "the slope was taken with alpha = 1: alpha sharpens the surrogate",
    "another surrogate": "the slope is that of another surrogate than the neuron's",
    "slope S (1 - S)": "S (1 - S) is the slope of a sigmoid with alpha = 1, not of this surrogate",
    "spike for slope": "the gradient flows near the threshold, by the surrogate's slope, and "
    "not where S = 1",
    "surrogate on the carried gradient": "V's own path from step to step does not pass the "
    "spike: only dS and the attached reset are multiplied by the slope",
    "upstream added to the slope": "ds multiplies the surrogate's slope; here they were added",
    "input's 1/tau missing": "here X enters H as X / tau: its gradient is divided by tau too",
    "input's 1/tau too many": "here X enters H undivided: so does its gradient leave it",
    "1 - 1/tau on the input": "X enters with its own factor, 1/tau or 1; 1 - 1/tau is the "
    "membrane's",
    "reset left out": "after a spike the membrane goes back to v_reset, or down by v_th",
    "another reset": "the membrane was reset by another rule than the neuron's",
    "another charge": "the input was divided by tau where it enters undivided, or the other way "
    "round",
    "leak of the input's gradient": "dV[t-1] = (1 - 1/tau) dH, of dH itself and not of dX",
    "another leak": "V[t-1] enters H[t] with the factor 1 - 1/tau exactly",
    "reset's path without the slope": "the attached reset goes through S: its term is "
    "multiplied by the surrogate's slope too",
    "surrogate at another point": "the slope is taken at H - v_th, where the neuron decides to "
    "fire",
    "dv does not start at 0": "the walk back starts with dv = 0: nothing reads V after the last "
    "step",
    "steps in reverse order": "the walk goes from t = T-1 to 0, so what it collects comes out last "
    "step first: dx[t] belongs to step t",
    "h and s exchanged": "the step takes h before s: 1 - s is of the spikes, and the slope is "
    "taken at h - v_th",
    "first step left out": "the loop over t ends at 0, not at 1",
    "leak twice": "V keeps 1 - 1/tau of itself; the factor was applied twice",
    "hard reset's factor for another": "1 - S belongs to the hard reset alone",
    "v_th forgotten": "a soft reset takes v_th away at a spike: its dV/dS is -v_th, not -1",
    "alpha squared": "the slope has one factor alpha already",
    "curve for slope": "the surrogate's primitive was taken for its slope",
    "slope of another step": "the spike of step t fired on H[t]: the slope is taken at that step",
    "carried gradient accumulated": "dV is replaced at each step, not added up: only the next "
    "step reads V[t]",
    "upstream of the last step only": "every step's spikes were read by what follows: ds[t] "
    "enters at each t",
    "forward in time": "backpropagation through time walks from t = T-1 to 0",
    # embeddings
    "rows overwritten": "a word that stands twice collects both gradients: np.add.at, not "
    "rows[ids] = dy (or +=, which keeps one)",
    "rows averaged": "a word that stands twice collects the sum of both gradients, not their mean",
    "positions not restarted": "positions count from 0 in each sentence, not through the batch",
    "rows counted twice": "the sum over a word's tokens was multiplied by their number",
    # activations and softmax
    "another GELU": "the slope is that of an approximation of GELU; here Φ is exact",
    "density without x": "the second term is x φ(x): x is missing from it",
    "mask inverted": "the gradient flows where the entry was kept, not where it was dropped",
    "density term missing": "the derivative of x Φ(x) is Φ(x) + x φ(x): a product has two terms",
    "density not normalised": "φ(x) = exp(-x²/2) / √(2π): the constant is missing",
    "tanh not squared": "tanh' = 1 - y²",
    "slope at y for slope at x": "tanh' = 1 - tanh(x)²: y is tanh(x) already, and was put "
    "through it once more",
    "mask not scaled": "what dropout keeps is scaled by 1 / (1 - rate), in the gradient too",
    "softmax's other entries": "raising one x lowers all other shares: the sum over the row "
    "must be subtracted",
    "softmax as a sigmoid": "y (1 - y) is only the diagonal of softmax's Jacobian",
    "softmax's diagonal": "dx = y (dy - sum(dy y)): both terms are multiplied by y",
    "softmax over the wrong axis": "the sum runs over the axis that softmax ran over, the last",
    "gate on the wrong side": "ReLU lets the gradient through where its input was above 0",
    "output for the gate": "ReLU's slope is 1 or 0, not its output",
    # windows of tokens
    "window not turned round": "window n holds token n + j - left at place j: what comes back from "
    "there belongs to that token, not to the one as far to the other side",
    "windows overwritten": "a token stands in up to K windows, once at each place: their gradients "
    "add up",
    "own place only": "a token stands in its neighbours' windows too, and each gives a gradient",
    "window shifted by a token": "the window of n begins at n - left, left = (K - 1) // 2, on the "
    "way back as on the way there",
    "window begins at its token": "the window of n begins at n - left, left = (K - 1) // 2, not at "
    "n",
    "window ends at its token": "the window of n begins at n - left, left = (K - 1) // 2, and "
    "not K - 1 tokens before n",
    # pooling
    "every token, not the winner": "only the token that was the maximum moves it",
    "mean for the maximum": "the maximum's gradient goes to the token that won, and is not shared",
    "winner counted from its sentence's start": "the winner's place counts from the start of its "
    "own sentence: add offsets[b]",
    "not divided by the length": "a mean over a sentence gives each token 1 / length of the "
    "gradient",
    "one length for all sentences": "each sentence's mean divides by its own length",
    "not divided by T": "a mean over time gives each step 1 / T of the gradient",
    # losses
    "one-hot not subtracted": "cross-entropy's gradient is softmax minus the one-hot label",
    "a missing label read as the last class": "in NumPy, label -1 picks the last class: a sentence "
    "without a label has no gradient",
    "row of a missing label": "a sentence without a label adds nothing to the loss: its row of the "
    "gradient is zero",
    "softmax skipped": "this is the gradient by the probabilities q: go on to the logits, through "
    "the softmax that made q",
    "logarithms compared": "q - p is a difference of probabilities, not of their logarithms",
    "divided by the labelled sentences only": "the sum is over the labelled sentences, but it is "
    "divided by all of the batch",
    "one-hot's sign": "softmax minus the one-hot label, not plus",
    "sign for the difference": "the derivative of a square is twice the difference, not its sign",
    "not divided by the batch": "the loss is a mean over the batch: so is its gradient",
    "temperature squared missing": "the loss carries temperature², which keeps the gradient's "
    "size; without it the gradient shrinks",
    "temperature of the logits missing": "logits enter divided by the temperature: one of the "
    "loss's two factors is taken back",
    "gradient through the teacher": "the teacher's logits are constants: no gradient of theirs "
    "belongs here",
    "reversed divergence": "KL(teacher || student), not KL(student || teacher): the gradient is "
    "q - p",
    "divided by the classes": "the mean runs over the batch, not over the classes too",
    "2 missing": "the derivative of a square is twice the difference",
    "divided by the rows only": "the mean runs over all entries: divide by the size, not by the "
    "number of rows",
    "length held constant": "a cosine divides by a length that moves with the features: what "
    "points along them, cos times their direction, must be subtracted",
    "length left out": "a cosine divides by the features' length, and so does its gradient",
    "loss weight missing": "each loss enters with its own weight, and so does its gradient",
    "loss overwritten": "two losses read the same logits: their gradients add up",
    # attention
    "k and v swapped": "the gradients of k and v stand in each other's place",
    "q and k swapped": "the gradients of q and k stand in each other's place",
    "scale missing": "y = (q kᵀ) v scale: the scale multiplies the gradient of q, k and v",
    "scale missing from dv": "the scale multiplies every branch, dv too",
    "scale missing from dq and dk": "the scale multiplies every branch, dq and dk too",
    "scale twice": "the scale was applied twice on one way",
    "map not transposed": "a = q kᵀ: dk = daᵀ q, and dv = aᵀ dy",
    "summary not transposed": "M = kᵀ v, z = q M: dq = dz Mᵀ, dk = v dMᵀ, and dv = k dM",
    "leaking across sentences": "each sentence is read by itself: attention's products and a "
    "convolution's windows stop at its offsets",
    "q for k, or k for q": "each of a product's gradients holds the other factor: a = q kᵀ gives "
    "dq = da k, and dk = daᵀ q",
    "heads joined without a transpose": "(T, H, n, E) goes back to (T, n, H, E) before it is "
    "reshaped to (T, n, D); reshaped as it lies in memory, heads and words are mixed up",
    "heads not joined": "the gradients of the heads still stand apart: (T, H, n, E) goes back to "
    "(T, n, D), by `join_heads`",
    "heads not split": "each head attends by itself: split D into H heads before the products",
    # compositions; the detail is the layer
    "left out": "this layer's own derivative was skipped: the gradient passed it unchanged",
    "path dropped": "the input is read here too, and the gradient of this path is missing in it",
    "straight path dropped": "y = x + f(x): dy itself belongs to dx, beside f's share",
    "straight path counted twice": "y = x + f(x): dy belongs to dx once",
    "straight path of another gradient": "the straight path carries the gradient of the sum "
    "itself, not one before or after it",
    "in the wrong order": "the backward pass walks the forward steps in reverse: this layer was "
    "given the gradient from before its neighbour",
    "fed the block's own upstream": "this layer read the gradient of the block's output instead "
    "of the one that arrived at its own",
    "upstreams exchanged": "these two layers were fed each other's upstream gradient",
    "threshold not halved": "the attention's neuron fires at v_th / 2: so its surrogate is "
    "taken there",
    # the penalty on the firing rate; see `spiking_linear_backward`
    "penalty left out": "dspike belongs to each neuron that fires: it is missing at one or at all",
    "penalty twice": "a neuron's spikes count once, however many read them: dspike is added once",
    "penalty on the residual sum": "the spikes count, not the sums x of them: added to what goes "
    "down the straight path, dspike arrives at earlier neurons once more",
    "penalty not divided": "the firing rate is a mean: dspike is w_rate over the number of spikes "
    "(tokens, steps and neurons of all layers)",
    "penalty's sign": "more spikes are a larger loss: dspike is positive, and added",
}


def explain(name):
    """The sentence of a mistake, whatever its detail."""
    return MISTAKES[name.partition(": ")[0]]
