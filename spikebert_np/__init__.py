"""SpikeBERT from scratch in NumPy: every forward and backward pass is written by hand.

Importing the package imports nothing heavy; import the file you need:

    from spikebert_np.layers.lif import LIFNeuron, lif_forward, lif_backward

Of the process it sets one variable, OPENBLAS_THREAD_TIMEOUT, unless that is set: see `process.py`.
"""

from .process import let_blas_sleep

let_blas_sleep()

__version__ = "0.1.0"
