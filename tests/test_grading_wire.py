"""What crosses between the grader and a learner's process, and what does not."""

import io
import json
from fractions import Fraction
from urllib.parse import urlsplit

import numpy as np
import pytest

from spikebert_np.checking.grading_peer import LENGTHS, Ended, Peer
from spikebert_np.checking.grading_wire import Encoder, Remote
from spikebert_np.layers.lif import LIFCache, LIFNeuron, lif_backward, lif_forward


def across(value):
    """The value as it arrives on the other side."""
    sent = io.BytesIO()
    here = Peer(None, sent, {})
    message = Encoder(here)
    here._send(message, message.head("reply", message.encode(value), message.encode({})))
    return Peer(io.BytesIO(sent.getvalue()), None, {})._receive()[1]


def test_plain_values_cross_unchanged():
    _, cache = lif_forward(np.random.default_rng(0).normal(size=(3, 2, 4)))
    values = [None, True, 3, 2.5, float("inf"), "a word", (1, [2, {"k": (3,)}]), {1: "one"}]
    assert across(values) == values
    arrived = across((cache, np.float32(0.1), np.arange(6).reshape(2, 3).T, np.zeros((0, 3))))
    assert type(arrived[0]) is LIFCache
    assert arrived[0].neuron == LIFNeuron()
    np.testing.assert_array_equal(arrived[0].h, cache.h)
    np.testing.assert_array_equal(lif_backward(cache.s, arrived[0]), lif_backward(cache.s, cache))
    assert (arrived[1], type(arrived[1])) == (np.float32(0.1), np.float32)
    np.testing.assert_array_equal(arrived[2], [[0, 3], [1, 4], [2, 5]])
    assert arrived[3].shape == (0, 3)
    assert isinstance(across(len), Remote)
    assert across([iter("ab"), slice(1, None, 2)]) == [["a", "b"], slice(1, None, 2)]
    assert type(across(urlsplit("a"))) is tuple  # what is not of this package
    assert across((Fraction(1, 2), np.array([1, 2.5], object)[1:])) == (0.5, 2.5)
    for strange in ({1, 2}, object(), np.array([object()]), np.array(["a"])):
        with pytest.raises(TypeError, match=r"cannot be marked|float"):
            across(strange)


@pytest.mark.parametrize(
    "content",
    [
        ["reply", ["record", "os", "stat_result", [1]], ["dict"]],
        ["reply", ["record", "spikebert_np.layers.lif", "lif_forward", 1], ["dict"]],
        ["reply", ["record", "spikebert_np.__main__", "x"], ["dict"]],
        ["reply", ["array", "|O", [1], 0], ["dict"]],
        ["reply", ["array", "<f8", [2], 0], ["dict"]],
        ["reply", ["array", "<f8", [-1], 0], ["dict"]],
        ["reply", ["set", 1], ["dict"]],
        ["reply", ["yours", 7], ["dict"]],
        ["reply", 1],
        ["error", "x"],
        7,
    ],
)
def test_what_is_no_message_ends_the_talk(content):
    head = json.dumps([[8], content]).encode()
    stream = io.BytesIO(LENGTHS.pack(len(head), 8) + head + bytes(8))
    with pytest.raises(Ended, match="no message"):
        Peer(stream, None, {})._receive()


def test_a_message_that_is_cut_off_or_endless_ends_the_talk():
    short, long = "the process has ended", "more bytes than any needs"
    for data, says in (
        (b"", short), (b"abc", short), (LENGTHS.pack(9, 0) + b"{}", short),
        (LENGTHS.pack(1 << 40, 0), long), (LENGTHS.pack(0, 1 << 40), long),
    ):  # fmt: skip
        with pytest.raises(Ended, match=says):
            Peer(io.BytesIO(data), None, {})._receive()
