"""What a network runs on, and what importing the library changes: nothing."""

import json
import subprocess
import sys

import pytest
import torch

from xraylib import device
from xraylib.device import autocast, environment_info
from xraylib.unet import UNet

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_autocast_runs_on_this_machine():
    with autocast(torch.device("cpu")):
        assert torch.isfinite(UNet(2, 1)(torch.zeros(1, 1, 8, 8))).all()


@pytest.mark.parametrize(("where", "bf16", "avx512", "width", "whole", "expected"), [
    (CPU, True, True, 64, True, torch.channels_last),        # bf16: faster for every network
    (CPU, False, True, 64, True, torch.channels_last),       # AVX-512 without bf16: likewise
    (CPU, False, False, 16, False, torch.channels_last),     # AVX2: narrow networks on crops only
    (CPU, False, False, 16, True, torch.contiguous_format),
    (CPU, False, False, 64, False, torch.contiguous_format),
    (GPU, True, False, 64, True, torch.channels_last),
    (GPU, False, False, 64, True, torch.contiguous_format),  # no tensor cores for float32
])
def test_the_memory_format_follows_processor_and_width(monkeypatch, where, bf16, avx512, width,
                                                       whole, expected):
    monkeypatch.setattr(device, "supports_fast_bf16", lambda _: bf16)
    monkeypatch.setattr(device, "has_avx512", lambda: avx512)
    assert device.training_memory_format(where, width, whole) == expected


def test_a_cpu_that_is_told_to_use_avx2_does_not_claim_fast_bf16():
    code = ("import torch; from xraylib.device import precision_name; "
            "print(precision_name(torch.device('cpu')))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"ATEN_CPU_CAPABILITY": "avx2"})
    assert done.stdout.strip() == "float32"


def test_the_environment_fits_into_json():
    info = environment_info()
    assert json.loads(json.dumps(info)) == info
    assert info["torch"] == torch.__version__ and info["precision"] in ("float32", "bf16 autocast")


def test_importing_the_library_changes_nothing():
    """Neither the environment nor the C library: its mallopt is not called."""
    code = """
import ctypes, os
before = dict(os.environ)
class Library(ctypes.CDLL):
    def __getattr__(self, name):
        raise AssertionError(f"the C library's {name} is called")
ctypes.CDLL = Library
import xraylib
assert dict(os.environ) == before
import numpy as np
ctypes.CDLL = Library.__base__
import torch
ctypes.CDLL = Library
from xraylib.inference import predict
from xraylib.unet import UNet
predict(UNet(2, 1), [np.zeros((16, 16), np.uint16)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_thread_is_used_where_waiting_for_a_second_one_takes_longer(monkeypatch):
    seconds = {1: 2.0, 4: 1.0}
    chosen = []
    monkeypatch.setattr(device, "_most_threads", lambda: 4)
    monkeypatch.setattr(device, "_seconds_of_small_steps", seconds.__getitem__)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    assert device.set_threads() == 4  # a quiet machine
    seconds[4] = 20.0
    assert device.set_threads() == 1  # beside a busy program
    assert device.set_threads(4) == 4 and device.set_threads(16) == 4  # as the run began
    assert chosen == [4, 1, 4, 4]


def test_the_time_of_small_steps_is_measured_on_that_many_threads():
    before = torch.get_rng_state()
    assert 0 < device._seconds_of_small_steps(1) < 60
    assert torch.get_num_threads() == 1 and torch.equal(torch.get_rng_state(), before)
