"""`amends adopt`: its patch applies, and what it makes of a project runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from amends.participants.adopting.sources import NotAdoptable
from amends.participants.cli_adopt import adopt

MANAGE = """
    import os
    import sys

    if __name__ == "__main__":
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "store.settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
"""
SETTINGS = '''
    """Settings."""

    from pathlib import Path

    SECRET_KEY = "x"
    INSTALLED_APPS = [
        "django.contrib.auth",
        "django.contrib.contenttypes"{comma}
    ]
    DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "größe.sqlite"}}}}
'''


def written(folder: Path, **files: str) -> Path:
    """The files, named with __ for a dot and ___ for a slash, in a git repository."""
    for name, text in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), "utf-8")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


def adopted(folder: Path, *words: str) -> str:
    """Apply what the command prints; what it says besides."""
    ended = CliRunner().invoke(adopt, [*words, "--project", str(folder)], catch_exceptions=False)
    assert ended.exit_code == 0
    subprocess.run(["git", "apply", "-"], input=ended.stdout, text=True, cwd=folder, check=True)
    return ended.stderr


def ran(folder: Path, *words: str) -> str:
    ended = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("comma", [",", ""])
def test_a_django_project_passes_its_checks_and_makes_the_tables(tmp_path: Path, comma: str) -> None:
    folder = written(tmp_path, manage__py=MANAGE, store___settings__py=SETTINGS.format(comma=comma))

    told = adopted(folder, "django")

    assert "manage.py migrate" in told
    assert "no issues" in ran(folder, "manage.py", "check")
    assert "amends" in ran(folder, "manage.py", "showmigrations", "amends")
    assert "store.sagas:store" in (folder / "store/settings.py").read_text()
    ran(folder, "-c", "from store.sagas import store; assert store.name == 'store'")


def test_a_list_of_apps_on_one_line_stays_there(tmp_path: Path) -> None:
    settings = 'INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]\nSECRET_KEY = "x"'
    folder = written(tmp_path, manage__py=MANAGE, store___settings__py=settings)

    adopted(folder, "django", "--service", "Shop 2")

    text = (folder / "store/settings.py").read_text()
    assert '"django.contrib.contenttypes", "amends.participants.django"]' in text
    assert '"SERVICE": "shop_2"' in text


@pytest.mark.parametrize(
    ("made", "becomes"),
    [
        ("app = FastAPI()", "app = FastAPI(lifespan=amends_lifespan(shop))"),
        ("app = FastAPI(title='größe')", "app = FastAPI(title='größe', lifespan=amends_lifespan(shop))"),
        ("app = FastAPI(lifespan=own)", "app = FastAPI(lifespan=amends_lifespan(shop, within=own))"),
        (
            "app = FastAPI(\n    title='x',\n)",
            "app = FastAPI(\n    title='x',lifespan=amends_lifespan(shop))",
        ),
    ],
)
def test_a_fastapi_application_gets_its_worker(tmp_path: Path, made: str, becomes: str) -> None:
    head = (
        "from contextlib import asynccontextmanager\nfrom fastapi import FastAPI\n\n"
        "@asynccontextmanager\nasync def own(app):\n    yield\n\n"
    )
    folder = written(tmp_path, main__py=head + made + "\n")

    told = adopted(folder, "fastapi", "--service", "shop")

    assert "amends migrate --participant" in told
    assert becomes in (folder / "main.py").read_text()
    ran(folder, "-c", "import main; assert main.shop.name == 'shop'")


def test_a_services_name_stays_as_sagas_say_it(tmp_path: Path) -> None:
    folder = written(tmp_path, main__py="from fastapi import FastAPI\n\napp = FastAPI()\n")

    adopted(folder, "fastapi", "--service", "my-shop")

    assert 'my_shop = Participant("my-shop")' in (folder / "sagas.py").read_text()


def test_a_celery_application_gets_tasks_that_sagas_may_call(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        work__py="from celery import Celery\n\napp = Celery('work', broker='pyamqp://localhost//')\n",
    )

    told = adopted(folder, "celery", "--service", "ledger")

    assert "celery -A work -I saga_tasks worker" in told
    ran(folder, "-c", "import saga_tasks; assert 'amends.ledger.reserve' in saga_tasks.app.tasks")


@pytest.mark.parametrize(
    ("framework", "files", "told"),
    [
        ("django", {}, "there is no manage.py"),
        ("django", {"manage__py": "x = 1"}, "does not say DJANGO_SETTINGS_MODULE"),
        ("django", {"manage__py": MANAGE}, "there is no .*store/settings.py"),
        ("django", {"manage__py": MANAGE, "store___settings__py": "A = (1,)"}, "no list INSTALLED_APPS"),
        (
            "django",
            {"manage__py": MANAGE, "store___settings__py": 'INSTALLED_APPS = ["amends.participants.django"]'},
            "already",
        ),
        ("fastapi", {}, "found: none"),
        ("fastapi", {"a__py": "app = FastAPI()", "b__py": "app = FastAPI()"}, "found: a.py, b.py"),
        ("fastapi", {"a__py": "app = FastAPI(lifespan=amends_lifespan(x))"}, "already"),
        ("fastapi", {"a__py": "app = FastAPI("}, "cannot be read as Python"),
        ("celery", {"a__py": "app = Celery()", "saga_tasks__py": ""}, "is there already"),
    ],
)
def test_a_project_that_is_not_as_expected_is_told_what_to_do(
    tmp_path: Path, framework: str, files: dict[str, str], told: str
) -> None:
    folder = written(tmp_path, **files)

    with pytest.raises(NotAdoptable, match=told):
        CliRunner().invoke(adopt, [framework, "--project", str(folder)], catch_exceptions=False)
