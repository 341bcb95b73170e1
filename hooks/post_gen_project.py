"""Fill the project from the live files of the template: the work is done in cos_scaffold/generate.py."""

import json
import sys
from pathlib import Path

ROOT, ANSWERS = json.loads({{[template_root, cookiecutter] | tojson | tojson}})
sys.dont_write_bytecode = True
sys.path.insert(0, ROOT)

from cos_scaffold.generate import generate

generate(Path(ROOT), Path.cwd(), ANSWERS)
