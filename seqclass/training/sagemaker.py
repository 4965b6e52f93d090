"""Training as Amazon SageMaker starts it: what it says in variables and folders becomes a run of `fit`.

The contract is that of the SageMaker training toolkit: `SM_CHANNEL_*` folders of data, `SM_HPS` hyper-parameters
as JSON, `SM_HOSTS` and `SM_CURRENT_HOST` for several machines, `SM_NUM_GPUS`, `SM_MODEL_DIR` for the result;
`checkpoints/` outlives the machine, and `output/failure` says why a job failed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from seqclass.atomic import write_text
from seqclass.errors import SeqclassError, TrainingError
from seqclass.models import get_model
from seqclass.terminal import say
from seqclass.training.experiment import run_experiment
from seqclass.training.processes import is_first_process

_PORT = "29500"


def fit_sagemaker(root: str | Path, environment: MutableMapping[str, str], more: Sequence[str] = ()) -> dict[str, Any]:
    """Trains a registered model as a SageMaker job says.

    The hyper-parameter "model" names the model; the others are options of `fit` by dotted name. The run is in
    `checkpoints/run` and goes on where an interrupted job stopped. In the end the bundle is copied to `SM_MODEL_DIR`,
    and the report to `SM_OUTPUT_DATA_DIR`.

    Args:
        root: The folder that SageMaker gives a job, `/opt/ml`.
        environment: Variables; those by which several machines find each other are added.
        more: Further options, which win.

    Returns:
        The metrics, as in `metrics.json`.

    Raises:
        TrainingError: A variable is missing or is not what it should be, or there is not just one store.
        SeqclassError: As for `fit_run`; what is raised is also written to `output/failure`.
    """
    root = Path(root)
    try:
        return _fit(root, environment, more)
    except SeqclassError as error:
        (root / "output").mkdir(parents=True, exist_ok=True)
        write_text(root / "output" / "failure", f"{error}\n", force=True)
        raise


def _fit(root: Path, environment: MutableMapping[str, str], more: Sequence[str]) -> dict[str, Any]:
    options = _json(environment, "SM_HPS", dict, {})
    if "model" not in options:
        raise TrainingError("no hyper-parameter says which model", remedy='Give "model", such as "protcnn_small"')
    name = str(options.pop("model"))
    run = root / "checkpoints" / "run"
    arguments = [f"--data.store={_store(environment)}", f"--out={run}", "--resume"]
    arguments += [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in options.items()]
    metrics = run_experiment(get_model(name), name=name, arguments=["fit", *arguments, *_machines(environment), *more])
    if is_first_process():
        model = Path(environment.get("SM_MODEL_DIR", root / "model"))
        shutil.copytree(run / "bundle", model, dirs_exist_ok=True)
        say(f"bundle: {model}")
        if (run / "report").exists():
            data = Path(environment.get("SM_OUTPUT_DATA_DIR", root / "output" / "data"))
            shutil.copytree(run / "report", data / "report", dirs_exist_ok=True)
    return metrics


def _store(environment: Mapping[str, str]) -> Path:
    """The one store in the channels."""
    channels = sorted(Path(folder) for key, folder in environment.items() if key.startswith("SM_CHANNEL_"))
    if not channels:
        raise TrainingError("there is no variable SM_CHANNEL_*, so no data", remedy="Give the job an input channel")
    stores = [file for folder in channels for file in sorted(folder.glob("*.h5"))]
    if len(stores) != 1:
        raise TrainingError(
            f"there are {len(stores)} stores (*.h5) in {', '.join(map(str, channels))}",
            remedy="Put one into a channel, as 'seqclass data import' writes it",
        )
    return stores[0]


def _machines(environment: MutableMapping[str, str]) -> list[str]:
    """Options for the devices and machines of the job."""
    gpus = int(environment.get("SM_NUM_GPUS", "0"))
    hosts = sorted(_json(environment, "SM_HOSTS", list, ["algo-1"]))
    here = environment.get("SM_CURRENT_HOST", hosts[0])
    if here not in hosts:
        raise TrainingError(
            f"SM_CURRENT_HOST is '{here}', and SM_HOSTS names {', '.join(hosts)}", remedy="Look at the job's variables"
        )
    options = [f"--trainer.devices={gpus}"] if gpus else []
    if len(hosts) > 1:
        environment.update(MASTER_ADDR=hosts[0], MASTER_PORT=_PORT, NODE_RANK=str(hosts.index(here)))
        options += [f"--trainer.num_nodes={len(hosts)}"]
    if len(hosts) * max(1, gpus) > 1:
        options += ["--trainer.strategy=ddp"]
    return options


def _json(environment: Mapping[str, str], name: str, kind: type, default: Any) -> Any:
    if name not in environment:
        return default
    try:
        value = json.loads(environment[name])
    except ValueError as error:
        raise TrainingError(f"{name} is not JSON ({error})", remedy="Look at the job's variables") from None
    if not isinstance(value, kind):
        raise TrainingError(f"{name} is {value!r}", remedy=f"Let it be a JSON {kind.__name__}")
    return value
