"Test that a network of every space of the ancestors can be exported and computes the same in both formats."
import pytest
import torch

from autogan_nb.cli import autogan_export
from autogan_nb.nas.searching import NAS_SPACES, NASOptions, a_random_one, complete, load_child, problem_of, save_child
from autogan_nb.practice.sharing import load_exported


def read_on(run, tokens, facts):
    "Feed tokens (steps, n) to an exported language model one by one; return all logits."
    state, logits = torch.zeros(tokens.shape[1], 2 if facts['options']['space'] == 'nas-rnn' else 1, 8), []
    for token in tokens:
        each, state = run(token, state)
        logits.append(each)
    return torch.stack(logits)


@torch.no_grad()
@pytest.mark.parametrize('space', NAS_SPACES)
def test_the_command_exports_a_network_of_every_space(space, tmp_path, capsys):
    pytest.importorskip('onnxruntime'), pytest.importorskip('onnxscript')
    o = complete(NASOptions(space=space, size=8, limit=3000 if NAS_SPACES[space].task == 'language' else 200, width=8, quiet=True))
    problem, row = problem_of(o), NAS_SPACES[space]
    arch, source = a_random_one(o, []), tmp_path / 'net.safetensors'
    save_child(source, row.child(arch, problem, o), str(arch), o, problem, dict(valid=.5))
    net = load_child(source)[0]
    for suffix in ('.onnx', '.pt2'):
        autogan_export.shell([str(source), str(out := source.with_suffix(suffix))])
        run, facts = load_exported(out)
        assert (facts['arch'], facts['notes'], facts['options']['space']) == (str(arch), {'valid': .5}, space)
        if row.task == 'classify': found, expected = run(images := torch.rand(3, 1, 8, 8) * 2 - 1), net(images)
        else: found, expected = read_on(run, tokens := torch.randint(len(problem.vocabulary), (4, 2)), facts), net(tokens)[0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize('words', ['autogan_sample {0} --out x.png', 'autogan_export {0} x.onnx --arch A', 'autogan_export {1} x.onnx'])
def test_what_cannot_be_done_with_a_classifier_is_said_in_one_sentence(words, tmp_path, monkeypatch, capsys):
    from autogan_nb import cli
    monkeypatch.chdir(tmp_path)
    o = complete(NASOptions(space='enas-macro', size=8, limit=200, width=8, quiet=True))
    problem = problem_of(o)
    arch = a_random_one(o, [])
    save_child('net.safetensors', NAS_SPACES['enas-macro'].child(arch, problem, o), str(arch), o, problem, {})
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/nas.json').write_text('{}')
    name, *rest = words.format('net.safetensors', 'run').split()
    with pytest.raises(SystemExit) as end: getattr(cli, name).shell(rest)
    said = capsys.readouterr().err
    assert (end.value.code, said.count('\n')) == (2, 1), said
    assert any(text in said for text in ('and no generator', 'leave out --arch', 'has no results yet')), said
    assert not list(tmp_path.glob('x.*'))
