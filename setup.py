"""Installs spikebert_np, the `spikebert` command, recipes, a student, a page and the toy cache."""

from pathlib import Path

from setuptools import find_packages, setup

# `teacher_cache/` is a top-level folder of the repository, so that a user's own caches lie beside
# the shipped one. In the wheel the shipped one becomes a sub-package, read by importlib.resources.
SHIPPED_CACHE = "spikebert_np.teacher_cache.toy_reviews"

setup(
    name="spikebert_np",
    version="0.1.0",
    description="SpikeBERT from scratch in NumPy: every forward and backward pass written by hand",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["spikebert_np", "spikebert_np.*"]), SHIPPED_CACHE],
    package_dir={SHIPPED_CACHE: "teacher_cache/toy_reviews"},
    package_data={
        "spikebert_np": ["recipes/*.toml", "students/*/*", "web/*"],
        SHIPPED_CACHE: ["*.npy", "*.json", "*.md"],
    },
    install_requires=[
        "numpy>=2.0",
        "numba>=0.60",
        "tokenizers>=0.20",
        "safetensors>=0.4.3",
        "threadpoolctl>=3.1",
        "matplotlib>=3.10",
        "tqdm>=4.66",
        "filelock>=3.12",
    ],
    extras_require={
        "notebooks": ["jupyter>=1.0", "ipywidgets>=8.0"],
        # Exactly these: a warning fails the build, and another version has others.
        "site": [
            "sphinx==9.0.4",
            "myst-nb==1.4.0",
            "myst-parser==5.2.0",
            "sphinx-book-theme==1.4.0",
            "math-core==0.9.0",
            "ziamath==0.13",
        ],
        "test": ["pytest>=8.0", "pytest-cov>=5.0", "hypothesis>=6.100", "ruff>=0.6"],
        "oracles": [
            "torch>=2.6",
            "spikingjelly>=2.0.0",
            "snntorch>=1.0.0",
            "norse>=1.1.0",
            "transformers>=4.50",
            "onnx>=1.17",
            "onnxruntime>=1.20",
        ],
    },
    entry_points={"console_scripts": ["spikebert = spikebert_np.cli:main"]},
)
