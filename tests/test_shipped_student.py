"""The student that travels with the package: it is there, it is small, and it answers."""

from tiny import last_json

from spikebert_np.cli import main
from spikebert_np.data.shipped import shipped_student

SENTENCES = ["a gripping, funny film", "dull, lifeless and far too long"]


def test_the_shipped_student_is_small():
    sizes = [path.stat().st_size for path in shipped_student().iterdir()]
    assert max(sizes) <= 4 << 20
    assert sum(sizes) <= 8 << 20


def test_it_tells_praise_from_blame(capsys):
    assert main(["predict", *SENTENCES, "--json"]) == 0
    assert last_json(capsys.readouterr().out)["labels"] == [1, 0]
