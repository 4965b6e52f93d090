#!/opt/seqclass/bin/python
"""What SageMaker starts as `train`: turns the files of a training job into the variables that `seqclass fit` reads.

    input/config/hyperparameters.json   SM_HPS
    input/config/resourceconfig.json    SM_HOSTS, SM_CURRENT_HOST
    input/data/CHANNEL                  SM_CHANNEL_CHANNEL

Variables that are set already, as by Amazon's own training toolkit, are left alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def variables(root: Path) -> dict[str, str]:
    """The variables of a job whose files lie in `root`, `/opt/ml` in a container."""
    config, found = root / "input" / "config", {}
    if (config / "hyperparameters.json").exists():
        options = json.loads((config / "hyperparameters.json").read_text(encoding="utf-8"))
        found["SM_HPS"] = json.dumps({name: _decoded(value) for name, value in options.items()})
    if (config / "resourceconfig.json").exists():
        machines = json.loads((config / "resourceconfig.json").read_text(encoding="utf-8"))
        found["SM_HOSTS"] = json.dumps(machines["hosts"])
        found["SM_CURRENT_HOST"] = machines["current_host"]
    data = root / "input" / "data"
    for channel in sorted(data.iterdir()) if data.is_dir() else []:
        if channel.is_dir():
            found[f"SM_CHANNEL_{channel.name.upper()}"] = str(channel)
    found["SM_NUM_GPUS"] = str(_gpus())
    found["SM_MODEL_DIR"] = str(root / "model")
    found["SM_OUTPUT_DATA_DIR"] = str(root / "output" / "data")
    return found


def _decoded(value: object) -> object:
    """A hyper-parameter: SageMaker hands on text, which its SDK has encoded as JSON or not."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _gpus() -> int:
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.count("GPU ")
    except OSError:
        return 0


if __name__ == "__main__":
    root = Path(os.environ.get("SEQCLASS_SAGEMAKER", "/opt/ml"))
    for name, value in variables(root).items():
        os.environ.setdefault(name, value)
    os.execvp("seqclass", ["seqclass", "fit", "--sagemaker", str(root), *sys.argv[1:]])
