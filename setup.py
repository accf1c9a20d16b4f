"Everything this file says comes from settings.ini."
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(root/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
readme = root/'README.md'
licenses = {'apache2': 'Apache-2.0'}

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license=licenses[cfg['license']], url=cfg['git_url'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '', long_description_content_type='text/markdown',
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path'] + '.*']),
    package_data={cfg['lib_path']: ['pretrained/*.safetensors', 'pretrained/*.gz', 'report.ipynb']},
    python_requires=f">={cfg['min_python']}",
    classifiers=[f'Programming Language :: Python :: {version}' for version in cfg['python_versions'].split()],
    install_requires=shlex.split(cfg['requirements']),
    extras_require={extra: shlex.split(cfg[f'{extra}_requirements'])
                    for extra in ('onnx', 'video', 'heic', 'optuna', 'demo', 'ray', 'track', 'dev')},
    entry_points={'console_scripts': [l.strip() for l in cfg['console_scripts'].splitlines() if l.strip()],
                  'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]},
    zip_safe=False,
)
