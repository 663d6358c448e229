"""The command `rep-edge`: gathers the sub-commands, turns a user's mistakes into one line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Annotated

import typer

from rep_edge import __version__
from rep_edge.errors import InputError, MissingExtraError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

EXTRAS = {
    "torch": ("train", "torch"),
    "torchaudio": ("train", "torchaudio"),
    "timm": ("train", "timm"),
    "torchvision": ("train", "torchvision"),
    "open_clip": ("train", "open-clip-torch"),
    "transformers": ("train", "transformers"),
    "huggingface_hub": ("train", "huggingface-hub"),
    "lightning": ("train", "lightning-fabric"),
    "lightning_fabric": ("train", "lightning-fabric"),
    "torchmetrics": ("train", "torchmetrics"),
    "safetensors": ("train", "safetensors"),
    "yaml": ("train", "PyYAML"),
    "scipy": ("train", "scipy"),
    "obspy": ("train", "obspy"),
    "soundfile": ("sensors", "soundfile"),
    "soxr": ("sensors", "soxr"),
    "pymseed": ("sensors", "pymseed"),
    "sounddevice": ("sensors", "sounddevice"),
    "paho": ("sensors", "paho-mqtt"),
    "starlette": ("service", "starlette"),
    "uvicorn": ("service", "uvicorn"),
    "prometheus_client": ("service", "prometheus-client"),
    "PIL": ("vision-language", "pillow"),
    "tokenizers": ("vision-language", "tokenizers"),
    "ftfy": ("vision-language", "ftfy"),
    "matplotlib": ("plots", "matplotlib"),
    "onnx": ("export", "onnx"),
    "onnxscript": ("export", "onnxscript"),
    "onnxslim": ("export", "onnxslim"),
    "onnxruntime": ("cpu", "onnxruntime"),
    "tensorrt": ("tensorrt", "tensorrt"),
    "tensorrt_rtx": ("rtx", "tensorrt-rtx"),
    "cuda": ("rtx", "cuda-bindings"),
}
"""Import name -> (extra that brings it, name to install it by)."""

app = typer.Typer(
    name="rep-edge",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    "training",
    "exporting",
    "calibrating",
    "compiling",
    "serving",
    "device",
    "service",
    "marking",
    "checking",
):
    if importlib.util.find_spec(f"rep_edge.cli.{part}") is not None:
        importlib.import_module(f"rep_edge.cli.{part}").register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rep-edge {__version__}")
        raise typer.Exit


@app.callback()
def rep_edge(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Classify sounds and ground motion, pictures and texts on a device, also while some of them are missing.

    On a desk: train a model, adapt it to missing modalities, evaluate it, export a bundle. On the device: classify
    files or stream from sensors with that bundle. Results go to standard output, all else to standard error.
    """


def main() -> None:
    """Run the command line in `sys.argv`; always ends in SystemExit: 0, 1 bad input or failed run, 2 wrong usage."""
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has left. What is still buffered must not fail again when Python closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run() -> int:
    """The exit code of one command, its mistakes told in one line."""
    try:
        app(prog_name="rep-edge")
    except SystemExit as end:
        # Typer ends every command in this way, Ctrl-C included.
        if end.code == INTERRUPTED:
            _complain("interrupted")
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except MissingExtraError as error:
        _complain(f"error: {error}")
        return 2
    except InputError as error:
        _complain(f"error: {error}")
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _complain(f"error: {MissingExtraError(*EXTRAS[package])}")
        return 2
    return 0


def _complain(message: str) -> None:
    print(" ".join(message.splitlines()), file=sys.stderr)
