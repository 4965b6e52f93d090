from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="seqclass",
    version="0.1.0",
    description="Composable deep-learning classifiers for DNA and protein sequences",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["seqclass", "seqclass.*"]),
    package_data={"seqclass": ["py.typed", "data/sources/*.tsv"]},
    install_requires=[
        "torch>=2.11",
        "pytorch-lightning>=2.6.6,<2.7",
        "torchmetrics>=1.8",
        "numpy>=2.0",
        "scipy>=1.14",
        "h5py>=3.12",
        "scikit-learn>=1.6",
        "jsonargparse[signatures]>=4.40",
        "rich>=14.1",
        "safetensors>=0.5",
        "tensorboard>=2.18",
        "matplotlib>=3.9",
    ],
    extras_require={
        "fetch": ["pooch>=1.8", "requests>=2.28"],
        "homology": ["pyhmmer>=0.11"],
        "transformers": ["transformers>=5", "peft>=0.18", "sentencepiece>=0.2", "protobuf>=4"],
        "dev": [
            "pytest>=8",
            "hypothesis>=6.100",
            "pyfaidx>=0.8",
            "captum>=0.8",
            "tangermeme>=1.0",
            "ruff>=0.9",
            "mypy>=1.14",
            "import-linter>=2.1",
        ],
    },
    entry_points={"console_scripts": ["seqclass=seqclass.cli:main"]},
)
