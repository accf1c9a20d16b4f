"Test that every architecture can be exported at every width, for any number of images: 300 are captured, 20 are exported and run."
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autogan_nb.core import make_rng
from autogan_nb.practice.sharing import export_network, export_graph
from autogan_nb.search.derived_gan import DerivedGenerator, save_generator
from autogan_nb.search.space import random_architecture

WIDTHS = [*range(1, 9), 24, 32, 48, 64, 95, 96, 128, 256]


def some_generator(seed, cells):
    "Return a generator of a random architecture and size, with batch-norm statistics unlike those of a new one."
    r, rng = random.Random(seed), make_rng(seed)
    torch.manual_seed(seed)
    G = DerivedGenerator(random_architecture(cells, rng), r.choice(WIDTHS), r.choice([1, 2, 16]), r.choice([1, 2, 4, 6]), r.choice([1, 3]))
    for name, statistic in G.named_buffers():
        if 'running' in name: statistic.uniform_(.5, 2, generator=rng)
    return G.eval()


@pytest.mark.parametrize('piece', range(6))
def test_every_architecture_is_captured_for_any_number_of_images(piece):
    for k in range(50 * piece, 50 * piece + 50):
        G = some_generator(k, cells=3 if k % 25 == 0 else 2 if k % 6 == 0 else 1)      # capturing a cell takes 0.15 seconds
        program = export_graph(G)
        images = next(node for node in program.graph.nodes if node.op == 'output').args[0][0].meta['val']
        assert isinstance(images.shape[0], torch.SymInt), f'{G.settings}: only {images.shape[0]} images'
        assert all(bounds.upper > 10**6 and bounds.lower <= 1 for bounds in program.range_constraints.values()), G.settings


@pytest.mark.parametrize('suffix', ['.pt2', '.onnx'])
@pytest.mark.parametrize('piece', range(2))
def test_exported_files_draw_the_same_images(suffix, piece, tmp_path):
    if suffix == '.onnx': pytest.importorskip('onnxruntime'), pytest.importorskip('onnxscript')
    for k in range(5 * piece, 5 * piece + 5):
        G = some_generator(1000 + k, cells=1 + k % 4)
        assert export_network(G, tmp_path / f'{k}{suffix}') < 1e-4, G.settings
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize('width', [24, 256])
def test_the_command_exports_what_once_failed(width, tmp_path):
    save_generator(tmp_path / 'g.safetensors', DerivedGenerator('pre-none-deconv-sc,pre-none-deconv-sc', width, 64, 4, 3).eval())
    words = [Path(sys.executable).parent / 'autogan_export', 'g.safetensors', 'g.pt2']
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'g.pt2\n', '')
    assert torch.export.load(tmp_path / 'g.pt2').module()(torch.zeros(9, 64)).shape == (9, 3, 16, 16)
