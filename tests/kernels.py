"""Start the kernels of notebooks as forks of one process that has imported the large libraries already.

The package itself is not among them: every notebook imports what it needs of it."""
import os
import sys
from multiprocessing import get_context, parent_process
from threading import Thread

_context = get_context('forkserver')
_context.set_forkserver_preload(['torch', 'torchvision', 'scipy.stats', 'matplotlib.pyplot', 'fastcore.test',
                                 'ipykernel.kernelapp', 'ipykernel.ipkernel'])


class _Kernel:
    "What jupyter_client asks of a `subprocess.Popen`"
    stdin = stdout = stderr = None

    def __init__(self, process): self.process, self.pid = process, process.pid
    def poll(self): return self.process.exitcode
    def send_signal(self, number): os.kill(self.pid, number)
    def terminate(self): self.process.terminate()
    def kill(self): self.process.kill()

    def wait(self, timeout=None):
        self.process.join(timeout)
        return self.process.exitcode


def _follow():
    "End when the process that runs the tests has ended, however it did."
    parent_process().join()
    os._exit(1)


def _child(ready, argv, env, cwd):
    "Be a kernel: a session of its own, as jupyter_client expects, so that its signals reach nobody else."
    os.setsid()
    ready.send(True)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    Thread(target=_follow, daemon=True).start()
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance(argv=argv)


def _fork(argv, env, cwd):
    mine, yours = _context.Pipe()
    process = _context.Process(target=_child, args=(yours, argv, dict(env or os.environ), str(cwd or os.getcwd())))
    process.start()
    mine.recv()
    return _Kernel(process)


def use():
    "Start this interpreter's kernels so, from now on."
    from jupyter_client.provisioning import local_provisioner
    start, module = local_provisioner.launch_kernel, 'ipykernel_launcher'

    def launch(cmd, env=None, cwd=None, **others):
        if os.path.realpath(cmd[0]) != os.path.realpath(sys.executable) or module not in cmd: return start(cmd, env=env, cwd=cwd, **others)
        return _fork(cmd[cmd.index(module) + 1:], env, cwd)

    local_provisioner.launch_kernel = launch
