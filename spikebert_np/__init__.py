"""SpikeBERT from scratch in NumPy: every forward and backward pass is written by hand.

Importing the package imports nothing heavy; import the file you need:

    from spikebert_np.layers.lif import LIFNeuron, lif_forward, lif_backward
"""

__version__ = "0.1.0"
