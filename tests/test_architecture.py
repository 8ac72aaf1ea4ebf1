"""The house: which file may import which, what an import may load, and that no backward pass goes
without its finite-difference check. Read from the source by `ast`, so imports inside functions (the
lazy ones of the Numba twins) count too."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import spikebert_np
from spikebert_np.checking.cases import CASES

PACKAGE = Path(spikebert_np.__file__).parent

# From the ground up: a folder imports from those before it and from itself.
FLOORS = ["layers", "blocks", "models", "analysis", "training", "benchmarks", "commands"]
# Beside the floors: what a wing may import, and who may import it.
WINGS = {
    "data": (set(), {"analysis", "training", "benchmarks", "commands"}),
    "checking": ({"layers", "blocks", "models", "analysis", "training"}, {"commands"}),
}
# Within a folder a file imports only from files to its left. A new file is given its place here.
ORDER = {
    "layers": "kernel parameters initializers surrogate_numba surrogate linear_numba linear "
    "layernorm batchnorm lif_numba lif embedding_numba embedding dropout activations_numba "
    "activations softmax conv1d pooling losses",
    "blocks": "spike_encoding spike_input spiking_linear_numba spiking_linear spiking_conv1d ssa "
    "mlp encoder_block classifier_head distillation_tap bert_embeddings self_attention "
    "feed_forward pooler_head masked_lm_head",
    "models": "spikebert bert bert_checkpoint textcnn spiking_textcnn kinds bag_of_words",
    "analysis": "firing health operations energy energy_table explanation explanation_text "
    "explanation_page answers plots neuron_plots sliders block_plots training_plots "
    "report_plots comparison_plot depth_plot sparsity_plot energy_plot "
    "scaling_plot attention_cost",
    "training": "ranges optim_numba optim schedule shards checkpoint resume distill workers step "
    "checkups inference shrink loop linear_head frozen_teacher teacher_loop finetune_teacher "
    "pretrain_teacher report spans corpora word_rows stages sparse_head baselines recipe memory "
    "estimate ablations depth",
    "benchmarks": "timing joules students training_step scaling cache_reading calibration lif "
    "inference profile neurons_torch student_torch rivals_torch teacher_onnx sparsity energy suite",
    "commands": "options data teacher_cache teacher_run teacher_finetune teacher_train "
    "teacher_verify teacher student_flags train use explain explore_server explore probe shrink "
    "demo recipes steps results materials reproduction reproduce ablation ablation_table ablate "
    "depth sparsity energy_networks energy gradcheck grade "
    "bench_scaling bench_calibration bench",
    "data": "work_folder download formats readers split sentences tokenizer hidden_rows "
    "corpus batches sst2 masking vocabulary pretrained teacher_cache teacher_cache_shards "
    "teacher_cache_writer toy_reviews shipped check",
    "checking": "mistakes report patterns differences passes gradcheck draw case layer_cases "
    "block_cases bert_cases model_cases planting reference lif_hypotheses layer_hypotheses "
    "block_hypotheses textcnn_hypotheses rate_hypotheses diagnosis cases mutant layer_mutants "
    "lif_mutants block_mutants textcnn_mutants rate_mutants mutants exercise compiled_exercise "
    "bug_hunt chapter_00 chapter_01 chapter_02 chapter_03 chapter_04 chapter_05 chapter_06 "
    "chapter_07 chapter_08 chapter_09 chapter_10 chapter_11 chapter_12 exercises grading_wire "
    "grading_peer grading_guard grading_worker grading_copy grading_process grading_session "
    "grading",
}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def module_name(path):
    """PACKAGE/layers/lif.py -> ("layers", "lif"); PACKAGE/cli.py -> ("cli",)."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported_names(path, root="spikebert_np"):
    """What a file imports from the package: tuples such as ("layers", "lif", "LIFNeuron")."""
    folder = path.relative_to(PACKAGE).parent.parts if path.is_relative_to(PACKAGE) else ()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                module = folder[: len(folder) - node.level + 1] + module
            elif module[0] == root:
                module = module[1:]
            else:
                continue
            for alias in node.names:
                yield (*module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == root:
                    yield tuple(rest)


def imported_modules(path):
    """The same, each cut to the module it stands in; a name that no file provides is kept whole."""
    modules = {module_name(file) for file in FILES}
    for name in imported_names(path):
        yield name if name in modules or name[:-1] not in modules else name[:-1]


def is_allowed(importer, imported):
    """Whether the module `importer` may import the module `imported`, both tuples."""
    if imported in ((), ("errors",), ("folders",), ("files",), ("process",)):
        return True  # the version, the user's mistakes, folders, files, the process' own settings
    if importer in (("cli",), ("__main__",)):
        return imported[0] in ("cli", "commands")
    here, there = importer[0], imported[0]
    if here == there:
        order = ORDER[here].split()
        if len(imported) < 2 or len(importer) < 2:
            return False
        return order.index(imported[1]) < order.index(importer[1])
    if there in WINGS:
        return here in WINGS[there][1]
    if here in WINGS:
        return there in WINGS[here][0]
    return {here, there} <= set(FLOORS) and FLOORS.index(there) < FLOORS.index(here)


def test_every_file_has_its_place():
    for path in FILES:
        folder, *name = module_name(path) or ("",)
        if name:
            assert name[0] in ORDER[folder].split(), f"{folder}/{name[0]}.py: add it to ORDER"


def test_every_import_of_the_package_exists():
    modules = {module_name(file) for file in FILES}
    for path in FILES:
        missing = [name for name in imported_modules(path) if name not in modules]
        assert not missing, f"{path.name} imports {missing}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_from_below_and_from_its_left(path):
    importer = module_name(path)
    for imported in imported_modules(path):
        assert is_allowed(importer, imported), f"imports {'.'.join(imported)}"


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("layers.lif", "blocks.ssa"),  # upstairs
        ("layers.linear", "layers.lif"),  # to its right
        ("blocks.ssa", "blocks.ssa"),
        ("models.spikebert", "data.batches"),
        ("models.spikebert", "training.distill"),
        ("data.corpus", "models.spikebert"),
        ("data.corpus", "layers.embedding"),
        ("training.loop", "commands.demo"),
        ("training.loop", "checking.gradcheck"),
        ("training.loop", "cli"),
    ],
)
def test_the_rule_itself_forbids(importer, imported):
    assert not is_allowed(tuple(importer.split(".")), tuple(imported.split(".")))


IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
print(*sorted({module.partition(".")[0] for module in sys.modules}))
"""


def loaded_by(modules):
    """The top-level packages in memory after a fresh Python imported these modules."""
    run = [sys.executable, "-c", IMPORT_ALL, " ".join(modules)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy():
    modules = [
        ".".join(("spikebert_np", *module_name(path)))
        for path in FILES
        if not path.stem.endswith(("_numba", "_torch", "_onnx")) and path.stem != "__main__"
    ]
    heavy = {"numba", "matplotlib", "tokenizers", "torch", "transformers"}
    assert not heavy & loaded_by(modules)
    # What `spikebert --help` waits for.
    assert not (heavy | {"safetensors", "tqdm"}) & loaded_by(["spikebert_np.cli"])


def test_every_cache_says_why_it_keeps_what_it_keeps():
    """And the shape of each array. (One that only holds other caches has nothing to say.)"""
    found = 0
    for path in FILES:
        if module_name(path)[:1] not in {("layers",), ("blocks",), ("models",)}:
            continue
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.ClassDef) or not node.name.endswith("Cache"):
                continue
            kept = {f: ast.unparse(f.annotation) for f in node.body if isinstance(f, ast.AnnAssign)}
            if any("Cache" not in kind for kind in kept.values()):
                assert ast.get_docstring(node), f"{path.name}: {node.name} does not say why"
                found += 1
            for field, kind in kept.items():
                line = source.splitlines()[field.lineno - 1]
                assert "ndarray" not in kind or "  # " in line, f"{path.name}: {line.strip()}"
    assert found > 20


def test_every_backward_pass_has_a_case():
    """In `checking/`: what has none is checked by nobody."""
    checked = {case.backward for case in CASES.values()}
    found = 0
    for path in FILES:
        folder, *_ = module_name(path) or ("",)
        # A Numba twin is reached, and checked, through `backend="numba"`; a mutant is wrong.
        if path.stem.endswith("_numba") or folder == "checking":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.name if isinstance(node, ast.FunctionDef) else ""
            if name.endswith("_backward") and not name.startswith("_"):
                module = importlib.import_module(f"spikebert_np.{'.'.join(module_name(path))}")
                assert getattr(module, name) in checked, f"{path.name}: {name} has no case"
                found += 1
    assert found == len(checked)
    # Those that take a penalty on the firing rate are checked again with it.
    again = {f"{case.name}_rate" for case in CASES.values()} & CASES.keys()
    assert len(CASES) == found + len(again)
