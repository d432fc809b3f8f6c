"""Networks as ONNX graphs and bioimage.io packages: the same numbers, or no file."""

import hashlib
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import generate

from xraylib.__main__ import main
from xraylib.data import GreyScale, Phases
from xraylib.errors import ParameterError, WeightsError
from xraylib.inference import load_weights, logits_of, recalibrate_batch_norm, save_weights
from xraylib.noise import add_noise
from xraylib.outlook import onnx_graph
from xraylib.outlook.export import AUTHORS, LICENSE, export_network
from xraylib.published import network_file
from xraylib.unet import UNet

ROOT = Path(__file__).resolve().parents[2]
SHAPES = [(501, 501), (128, 128), (17, 33), (64, 35), (5, 6)]


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """PyTorch computes as ONNX Runtime does, also on CPUs with fast bfloat16."""
    monkeypatch.setattr("xraylib.device.supports_fast_bf16", lambda _: False)


def small(depth=2, n_classes=3, padding="same"):
    """A network that tells dark from bright pixels, because its batch norm fits the slices."""
    torch.manual_seed(depth)
    model = UNet(4, depth, n_classes, padding)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    model = recalibrate_batch_norm(model, list(generate(2, 128).images))
    model.phases = Phases.numbered(range(n_classes))
    model.grey_scale, model.grey_quantiles = GreyScale("uint8", 257.0), np.linspace(0, 60000, 101)
    return model


def run(graph, images):
    """Probabilities (B, C, H, W) of images uint16 (B, H, W), from ONNX Runtime."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"grey": images[:, None].astype(np.float32)})[0]


def probabilities(model, image):
    """Probabilities (C, H, W) of an image uint16 (H, W), from PyTorch."""
    ((_, logits),) = logits_of(model, [image])
    return torch.softmax(logits[0], 0).numpy()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_graph_equals_torch_at_any_size(depth):
    model = small(depth)
    graph, (image,) = onnx_graph.build_graph(model, False), generate(1, 128).images
    for height, width in [*SHAPES, (1, 1)]:
        image = np.resize(image, (height, width))
        assert np.abs(run(graph, image[None])[0] - probabilities(model, image)).max() < 1e-5
    batch = np.stack([image[:40, :33] for image in generate(2, 64).images])
    expected = [probabilities(model, image) for image in batch]
    assert np.abs(run(graph, batch) - expected).max() < 1e-5


def test_the_recalibrated_graph_takes_the_statistics_of_each_image():
    model = small()
    graph = onnx_graph.build_graph(model, True)
    clean, other = generate(2, 128).images
    for height, width in SHAPES:
        image = add_noise(np.resize(clean, (height, width)), 5000, 0, 1)
        trained = model.train()(torch.from_numpy(image[None, None].astype(np.float32)))
        expected = torch.softmax(trained.detach(), 1).numpy()
        assert np.abs(run(graph, image[None]) - expected).max() < 1e-4
    both = np.stack([clean, other])
    assert np.abs(run(graph, both)[1:] - run(graph, both[1:])).max() < 1e-5


def test_the_recalibrated_graph_repairs_a_network_without_labels():
    """It gives each pixel the phase that `recalibrate_batch_norm` gives it, except at ties."""
    model = load_weights(network_file("baseline")).cpu()
    sample = generate(1, 256, seed=1)
    image = add_noise(sample.images[0], 5000, 0, 1)
    found = run(onnx_graph.build_graph(model, True), image[None])[0]
    expected = probabilities(recalibrate_batch_norm(model, [image]), image)
    second, first = np.sort(expected, 0)[-2:]
    differ = found.argmax(0) != expected.argmax(0)
    assert not (differ & (first - second > 1e-3)).any() and differ.mean() < 1e-4
    wrong = [(each.argmax(0) != sample.labels[0]).mean()
             for each in (probabilities(model, image), found)]
    assert wrong[1] < 0.6 * wrong[0]


def test_the_command_writes_two_graphs_and_a_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xraylib", "export", "baseline", str(tmp_path / "out")])
    main()
    names = ["baseline.onnx", "baseline-recalibrated.onnx", "baseline.zip"]
    paths = [tmp_path / "out" / name for name in names]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in paths)
    model, image = load_weights(network_file("baseline")).cpu(), generate(1, 128).images[0]
    for path in paths[:2]:
        assert 450_000 < path.stat().st_size < 500_000
        graph = onnx.load(path)
        facts = {each.key: json.loads(each.value) for each in graph.metadata_props}
        assert facts["phases"]["names"] == ["pore", "YSZ", "nickel"]
        assert facts["phases"]["colours"][0] == "#d55e00" and facts["stride"] == 4
        assert facts["grey"] == model.grey.tolist() and len(facts["grey_quantiles"]) == 101
        assert facts["grey_scale"] == {"dtype": "uint16", "gain": 1.0, "offset": 0.0}
        assert [each.version for each in graph.opset_import] == [onnx_graph.OPSET]
    found = run(paths[0].read_bytes(), image[None])[0]
    assert np.abs(found - probabilities(model, image)).max() < 1e-5
    files, description = read_package(paths[2])
    assert files["weights.onnx"] == paths[0].read_bytes()
    (tensor,), (output,) = description["inputs"], description["outputs"]
    assert not tensor["preprocessing"] and "0.9911 on clean slices" in files["README.md"].decode()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nlicense: {LICENSE}\n" in citation and f"  - name: {AUTHORS}\n" in citation
    assert description["authors"] == [{"name": AUTHORS}] and description["license"] == LICENSE
    assert output["axes"][1]["channel_names"] == ["pore", "YSZ", "nickel"]
    given, expected = (np.load(io.BytesIO(files[f"test-{name}.npy"]))
                       for name in ("input", "output"))
    assert given.shape == (1, 1, 128, 128) and given.std() > 5000
    assert np.abs(run(files["weights.onnx"], given[:, 0]) - expected).max() < 1e-6
    assert (np.bincount(expected.argmax(1).ravel(), minlength=3) > 500).all()


def read_package(path):
    """The files of a package and its description, after a look at all checksums."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(files["rdf.yaml"])
    sums = {source: checksum for source, checksum in re.findall(
        r'"source": "([^"]+)",\s*"sha256": "([^"]+)"', files["rdf.yaml"].decode())}
    assert set(sums) == set(files) - {"rdf.yaml", "README.md"}
    assert all(hashlib.sha256(files[name]).hexdigest() == sums[name] for name in sums)
    return files, description


def test_a_network_of_the_reader_names_no_author(tmp_path):
    file = tmp_path / "my sample.v2.safetensors"
    save_weights(small(n_classes=5), file)
    paths = export_network(file, tmp_path / "out")
    assert [path.name for path in paths][0] == "my sample.v2.onnx"
    files, description = read_package(paths[2])
    assert not {"authors", "license"} & set(description)
    assert description["name"] == "U-Net my sample_v2"
    (tensor,) = description["inputs"]
    assert tensor["preprocessing"] == [
        {"id": "scale_linear", "kwargs": {"gain": 257.0, "offset": 0.0}}]
    given, expected = (np.load(io.BytesIO(files[f"test-{name}.npy"]))
                       for name in ("input", "output"))
    assert given.max() < 256 and "multiplies them by 257" in files["README.md"].decode()
    assert np.abs(run(files["weights.onnx"], given[:, 0] * 257) - expected).max() < 1e-5


def test_a_run_is_exported_under_its_experiment_and_digest_always_alike(tmp_path):
    folder = tmp_path / "runs/01_baseline/72bc4ee935c4"
    folder.mkdir(parents=True)
    save_weights(small(), folder / "model.safetensors")
    written = [[(path.name, path.read_bytes())
                for path in export_network(folder / "model.safetensors", tmp_path / out)]
               for out in ("once", "again")]
    assert written[0] == written[1] and written[0][0][0] == "01_baseline-72bc4ee935c4.onnx"


@pytest.mark.parametrize(("network", "reason"), [
    ("3d-noisy", "3d-noisy is a UNet3D. Only a UNet"),
    ("2.5d-noisy", "2.5d-noisy is a UNet25D. Only a UNet"),
    ("valid.safetensors", 'is a UNet with padding "valid"'),
])
def test_networks_that_cannot_be_exported_are_refused(network, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_weights(small(padding="valid"), Path("valid.safetensors"))
    with pytest.raises(ParameterError, match=reason):
        export_network(network, "out")
    assert not Path("out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "xraylib.outlook.onnx_graph")
    with pytest.raises(ParameterError, match=f"needs the package {package}, which is missing. "
                                             "Install it with: pip install onnx onnxruntime$"):
        export_network("baseline", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("only_recalibrated", [False, True])
def test_a_graph_that_disagrees_with_torch_is_not_written(only_recalibrated, tmp_path, monkeypatch):
    """Its padding is off by nothing but zeros at the edge: only sizes off the stride show it."""
    def wrong_graph(model, recalibrate):
        graph = onnx.load_from_string(build(model, recalibrate))
        if recalibrate >= only_recalibrated:
            (pad,) = [node for node in graph.graph.node if node.op_type == "Pad"]
            pad.attribute[0].s = b"constant"
        return graph.SerializeToString()

    build = onnx_graph.build_graph
    monkeypatch.setattr(onnx_graph, "build_graph", wrong_graph)
    save_weights(small(), tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match=r"ONNX Runtime and PyTorch disagree in \d+ pixels"):
        export_network(tmp_path / "small.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_files_are_written_or_none(tmp_path):
    save_weights(small(), tmp_path / "small.safetensors")
    (tmp_path / "out/small.zip").mkdir(parents=True)
    with pytest.raises(OSError):
        export_network(tmp_path / "small.safetensors", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.zip"]
