"""Stamp or update a project for copier: the work is done in cos_scaffold/copier.py."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT))

from cos_scaffold.copier import stamp

stamp(ROOT, Path.cwd(), json.loads(sys.argv[1]))
