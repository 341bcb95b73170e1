"""Refuse answers that would break the project later: the rules are in cos_scaffold/answers.py."""

import json
import sys
from pathlib import Path

ROOT, ANSWERS = json.loads({{[template_root, cookiecutter] | tojson | tojson}})
sys.dont_write_bytecode = True
sys.path.insert(0, ROOT)

from cos_scaffold.generate import refuse_bad

refuse_bad(Path(ROOT), ANSWERS)
