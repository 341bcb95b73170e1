"""Files that can't be parsed, modules that can't be imported."""

from __future__ import annotations

from test_framework.errors.categories import Category, Responsibility
from test_framework.tests.corpus.scenario import Scenario

INFRASTRUCTURE, TEST, CODE = Responsibility.INFRASTRUCTURE, Responsibility.TEST, Responsibility.CODE
I = Category.IMPORT  # noqa: E741
USES = """
        from app.agents.tools import count_words

        async def test_count():
            assert await count_words("a b") == 2
        """

SCENARIOS = (
    Scenario("syntax-in-the-test", I, TEST, "def test_one(:\n    pass\n"),
    Scenario("syntax-in-the-test-again", I, TEST, "def test_one():\n    x = [1, 2\n    assert x == {'a': 1\n"),
    Scenario("syntax-in-the-app", I, CODE, USES, patches=(("app/agents/tools.py", "    return len(text.split())", "    return len(text.split()"),)),
    Scenario("indentation-in-the-test", I, TEST, "def test_one():\n    x = 1\n      y = 2\n"),
    Scenario("indentation-in-the-app", I, CODE, USES, patches=(("app/agents/tools.py", "    return len(text.split())", "  return 1\n    return len(text.split())"),)),
    Scenario("tabs-and-spaces", I, TEST, "def test_one():\n    if True:\n\tx = 1\n        assert x\n"),
    Scenario("file-not-in-utf-8", I, TEST, "def test_one():\n    assert 'gr\udcfc\udcdf' == ''\n"),
    Scenario("file-with-a-nul", I, TEST, "def test_one():\n    pass\n\0\n"),
    Scenario("name-not-in-the-app", I, TEST, "from app.agents.tools import count_wrods\n\ndef test_one():\n    pass\n"),
    Scenario("module-not-in-the-app", I, TEST, "from app.agents.tolls import count_words\n\ndef test_one():\n    pass\n"),
    Scenario("name-gone-inside-the-app", I, CODE, """
        def test_app(settings):
            from app.main import create_app
            create_app(settings)
        """, patches=(("app/agents/tools.py", "TOOLS = (", "ALL_TOOLS = ("),)),
    Scenario("module-gone-inside-the-app", I, CODE, USES, patches=(("app/agents/tools.py", "from datetime import UTC, datetime\n", "from datetime import UTC, datetime\nfrom app.agents.clock import now\n"),)),
    Scenario("circle-of-imports", I, CODE, USES, patches=(
        ("app/agents/tools.py", "from datetime import UTC, datetime\n", "from datetime import UTC, datetime\nfrom app.agents.words import split\n"),),
        files={"app/agents/words.py": "from app.agents.tools import count_words\n\ndef split(text):\n    return text.split()\n"}),
    Scenario("circle-of-imports-by-attribute", I, CODE, USES, patches=(
        ("app/agents/tools.py", "from datetime import UTC, datetime\n", "from datetime import UTC, datetime\nimport app.agents.words\n"),),
        files={"app/agents/words.py": "import app.agents.tools\n\nTOOLS = app.agents.tools.TOOLS\n"}),
    Scenario("package-missing-for-the-test", I, TEST, "import celery\n\ndef test_one():\n    pass\n"),
    Scenario("package-missing-inside-a-test", I, TEST, "def test_one():\n    import numpy as np\n    assert np.zeros(3).sum() == 0\n"),
    Scenario("package-missing-for-the-app", I, CODE, USES, patches=(("app/agents/tools.py", "from datetime import UTC, datetime\n", "from datetime import UTC, datetime\nimport celery\n"),)),
    Scenario("package-locked-but-not-installed", I, INFRASTRUCTURE, USES, patches=(
        ("app/agents/tools.py", "from datetime import UTC, datetime\n", "from datetime import UTC, datetime\nimport celery\n"),
        ("requirements.lock", "aiosqlite==", "celery==5.4.0 \\\n    --hash=sha256:00\naiosqlite=="))),
    Scenario("package-locked-but-not-installed-for-the-test", I, INFRASTRUCTURE, "import boto3\n\ndef test_one():\n    pass\n", patches=(
        ("requirements-dev.lock", "aiosqlite==", "boto3==1.40.0 \\\n    --hash=sha256:00\naiosqlite=="),)),
    Scenario("conftest-can-t-be-imported", I, TEST, "def test_one():\n    pass\n", files={"tests/unit/deep/conftest.py": "import nosuch\n", "tests/unit/deep/test_deep.py": "def test_deep():\n    pass\n"}),
)  # fmt: skip
