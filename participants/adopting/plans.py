"""What a project of each framework needs: the files that change, and the commands that follow."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from amends.participants.adopting.sources import Change, NotAdoptable, Source, calls, module_of, python_files

_SETTINGS: Final = re.compile(r"""DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']""")
# As `Participant` takes it.
_PARTICIPANT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_APP: Final = "amends.participants.django"

_HANDLER: Final = '''"""What sagas may have this service do."""

from amends.participants import Ctx, Participant, Refused

{name} = Participant("{service}")


@{name}.command
def reserve(cmd: dict[str, str], ctx: Ctx) -> None:
    """Replace it by a command of yours; what it writes {where} commits with its answer."""
    if not cmd:
        raise Refused("nothing to reserve")  # A business no: the saga turns back.


@reserve.undo
def release(cmd: dict[str, str], ctx: Ctx) -> None:
    """What undoes it."""
'''

_TASKS: Final = '''"""What sagas may have this service's Celery workers do."""

from amends.participants import Ctx, Refused
from amends.participants.celery import CeleryParticipant
from {module} import {app}

{name} = CeleryParticipant("{service}", {app})  # Its database: AMENDS_DATABASE_URL.


@{name}.task
def reserve(cmd: dict[str, str], ctx: Ctx) -> None:
    """Replace it by a task of yours; what it writes through ctx.session commits with its answer."""
    if not cmd:
        raise Refused("nothing to reserve")  # A business no: the saga turns back.


@reserve.undo
def release(cmd: dict[str, str], ctx: Ctx) -> None:
    """What undoes it."""
'''


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes, and what to do after them, a line each."""

    changes: tuple[Change, ...]
    steps: tuple[str, ...]


def django(root: Path, service: str | None) -> Plan:
    """INSTALLED_APPS, AMENDS, and a module with a participant. Raises: NotAdoptable."""
    manage = root / "manage.py"
    if not manage.exists():
        raise NotAdoptable(f"there is no manage.py in {root}; run this where it is, or give --project")
    found = _SETTINGS.search(manage.read_text("utf-8"))
    if found is None:
        raise NotAdoptable(f"{manage} does not say DJANGO_SETTINGS_MODULE; follow docs/django.md by hand")
    settings = Source(_module_file(root, found[1]))
    if _APP in settings.text:
        raise NotAdoptable(f"{settings.path} has {_APP} already; see docs/django.md for what else there is")
    name = _name(service or found[1].partition(".")[0])
    told = _told(service, name)
    package = settings.path.parent if settings.path.parent != root else root
    handlers = package / "sagas.py"
    _add_to_apps(settings)
    end = len(settings.text)
    gap = "" if settings.text.endswith("\n") else "\n"
    settings.import_line("import os")
    reference = f"{module_of(handlers, root)}:{name}"
    settings.replace(
        end,
        end,
        f'{gap}\nAMENDS = {{\n    "SERVICE": "{told}",\n    "PARTICIPANT": "{reference}",\n'
        f'    "BROKER_URL": os.environ.get("AMENDS_BROKER_URL", "pyamqp://guest:guest@localhost:5672//"),\n}}\n',
    )
    new = _new(handlers, _HANDLER.format(name=name, service=told, where="with the ORM"))
    return Plan(
        (settings.change(), *new),
        (
            "pip install 'amends[django,postgresql]'",
            "python manage.py check",
            "python manage.py migrate",
            "python manage.py amends_participant     # obeys commands, carries the outbox; not on SQLite",
        ),
    )


def fastapi(root: Path, service: str | None) -> Plan:
    """`lifespan=` of the application, and a module with a participant. Raises: NotAdoptable."""
    source, call, _ = _only(root, "FastAPI")
    name = _name(service or root.name)
    told = _told(service, name)
    handlers = source.path.parent / "sagas.py"
    module = module_of(handlers, root)
    given = next((one for one in call.keywords if one.arg == "lifespan"), None)
    if given is not None:
        value = given.value
        assert value.end_lineno is not None
        assert value.end_col_offset is not None
        start, end = (
            source.at(value.lineno, value.col_offset),
            source.at(value.end_lineno, value.end_col_offset),
        )
        old = source.text[start:end]
        if "amends_lifespan" in old:
            raise NotAdoptable(f"{source.path} has amends_lifespan already; see docs/fastapi.md")
        source.replace(start, end, f"amends_lifespan({name}, within={old})")
    else:
        assert call.end_lineno is not None
        assert call.end_col_offset is not None
        close = source.at(call.end_lineno, call.end_col_offset) - 1
        inside = source.text[source.at(call.func.end_lineno or 1, call.func.end_col_offset or 0) + 1 : close]
        comma = ", " if inside.strip() and not inside.rstrip().endswith(",") else ""
        source.replace(
            close - (len(inside) - len(inside.rstrip())), close, f"{comma}lifespan=amends_lifespan({name})"
        )
    source.import_line("from amends.participants.asyncio import amends_lifespan")
    source.import_line(f"from {module} import {name}")
    new = _new(
        handlers, _HANDLER.format(name=name, service=told, where="through ctx.session or ctx.asession")
    )
    return Plan(
        (source.change(), *new),
        (
            "pip install 'amends[asyncio,postgresql,migrations,cli]'",
            "export AMENDS_DATABASE_URL=postgresql+psycopg://user:password@host/name     # the service's own",
            "export AMENDS_BROKER_URL=pyamqp://user:password@host:5672//",
            "amends migrate --participant",
            f"uvicorn {module_of(source.path, root)}:app     # the worker runs beside it",
        ),
    )


def celery(root: Path, service: str | None) -> Plan:
    """A module with tasks that sagas may call. Raises: NotAdoptable."""
    source, _, app = _only(root, "Celery")
    name = _name(service or root.name)
    told = _told(service, name)
    tasks = source.path.parent / "saga_tasks.py"
    module, tasks_module = module_of(source.path, root), module_of(tasks, root)
    new = _new(tasks, _TASKS.format(name=name, service=told, module=module, app=app))
    if not new:
        raise NotAdoptable(f"{tasks} is there already; see docs/celery.md for what else there is")
    return Plan(
        new,
        (
            "pip install 'amends[celery,postgresql,migrations,cli]'",
            "export AMENDS_DATABASE_URL=postgresql+psycopg://user:password@host/name     # the service's own",
            "export AMENDS_BROKER_URL=...     # RabbitMQ: the Celery app's broker and virtual host",
            "amends migrate --participant",
            f"celery -A {module} -I {tasks_module} worker     # does the work",
            f"amends participant {tasks_module}:{name}     # takes commands, undoes, carries the outbox",
            "in a transaction: outbox.delay(session, task, ...) instead of task.delay(...): docs/celery.md",
        ),
    )


def _only(root: Path, name: str) -> tuple[Source, ast.Call, str]:
    """The one place where the application is made. Raises: NotAdoptable for none, and for several."""
    found = []
    for path in python_files(root):
        if f"{name}(" not in path.read_text("utf-8", "replace"):
            continue
        source = Source(path)
        found += [(source, call, variable) for _, call, variable in calls(source.tree, name)]
    if len(found) != 1:
        places = ", ".join(str(one.path.relative_to(root)) for one, _, _ in found) or "none"
        raise NotAdoptable(
            f"looked below {root} for one `app = {name}(...)`; found: {places}. "
            "Give --project, or do by hand what docs/{name.lower()}.md says"
        )
    return found[0]


def _add_to_apps(settings: Source) -> None:
    """The app as the last of INSTALLED_APPS. Raises: NotAdoptable if that is no list."""
    for node in settings.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(one, ast.Name) and one.id == "INSTALLED_APPS" for one in targets):
            assert isinstance(node, ast.Assign)
            apps = node.value
            if not isinstance(apps, ast.List) or apps.end_lineno is None or apps.end_col_offset is None:
                break
            close = settings.at(apps.end_lineno, apps.end_col_offset) - 1
            if not apps.elts:
                settings.replace(close, close, f'"{_APP}"')
                return
            last = apps.elts[-1]
            assert last.end_lineno is not None
            assert last.end_col_offset is not None
            end = settings.at(last.end_lineno, last.end_col_offset)
            if apps.lineno == apps.end_lineno:
                settings.replace(end, end, f', "{_APP}"')
            else:
                comma = "" if settings.text[end:close].lstrip().startswith(",") else ","
                place = settings.at(apps.end_lineno, 0)
                if comma:
                    settings.replace(end, end, comma)
                settings.replace(place, place, f'{" " * last.col_offset}"{_APP}",\n')
            return
    raise NotAdoptable(
        f'{settings.path} has no list INSTALLED_APPS = [...]; add "{_APP}" by hand: docs/django.md'
    )


def _module_file(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.exists():
            return found
    raise NotAdoptable(f"there is no {path.with_suffix('.py')}, where manage.py has its settings")


def _new(path: Path, text: str) -> tuple[Change, ...]:
    """A new file, unless it is there."""
    return () if path.exists() else (Change(path, None, text),)


def _name(text: str) -> str:
    """A service's name that is also a name in Python."""
    name = re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_")
    return name if name and not name[0].isdigit() else f"service_{name}".rstrip("_")


def _told(service: str | None, name: str) -> str:
    """What sagas call it: as it was given, if a participant may be called so."""
    return service if service and _PARTICIPANT.fullmatch(service) else name
