"""Outbox and barrier in Django's admin: to look at, and to let parked messages go again."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.urls import reverse

from amends.outbox.wire import Op
from amends.participants.barrier.rows import Stand
from amends.participants.django.models import BarrierRow, OutboxMessage
from amends.participants.django.parked import retry_parked

_SHOWN_CHARS_MAX: Final = 20_000


class ReadOnly(admin.ModelAdmin):
    """Looks, and never writes: a row that was edited here would no more be what amends wrote."""

    # Of what a filter leaves the rows are counted; all of them need not be, there may be millions.
    show_full_result_count = False

    def has_add_permission(self, _request: Any) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, _request: Any, _obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, _request: Any, _obj: Any = None) -> bool:
        """Nobody."""
        return False


class StandingFilter(admin.SimpleListFilter):
    """By where a message stands."""

    title = "standing"
    parameter_name = "standing"

    def lookups(self, _request: Any, _model_admin: Any) -> tuple[tuple[str, str], ...]:
        """The choices."""
        return (("pending", "pending"), ("receipt", "awaiting receipt"), ("parked", "parked"))

    def queryset(self, _request: Any, queryset: Any) -> Any:
        """The messages that stand so."""
        if self.value() == "parked":
            return queryset.filter(parked_at__isnull=False)
        if self.value() in ("pending", "receipt"):
            return queryset.filter(parked_at__isnull=True, sent_at__isnull=self.value() == "pending")
        return queryset


class OpFilter(admin.SimpleListFilter):
    """By op. The choices are known: Django's own filter would look for them in the whole table."""

    title = "op"
    parameter_name = "op"
    choices_known: tuple[str, ...] = tuple(str(op) for op in (Op.DO, Op.UNDO, Op.CONFIRM))

    def lookups(self, _request: Any, _model_admin: Any) -> tuple[tuple[str, str], ...]:
        """The choices."""
        return tuple((name, name) for name in self.choices_known)

    def queryset(self, _request: Any, queryset: Any) -> Any:
        """The rows that have it."""
        if self.value() in self.choices_known:
            return queryset.filter(**{self.parameter_name: self.value()})
        return queryset


class OutcomeFilter(OpFilter):
    """By outcome."""

    title = "outcome"
    parameter_name = "outcome"
    choices_known = tuple(str(stand) for stand in Stand)


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly):
    """What has not left yet, and why."""

    list_display = (
        "id",
        "type",
        "destination",
        "correlation_id",
        "standing",
        "attempts",
        "created_at",
        "last_error",
    )
    list_filter = (StandingFilter, "type")
    search_fields = ("message_id", "correlation_id")
    search_help_text = "A message's id, or a saga's"
    exclude = ("body",)
    readonly_fields = ("content",)
    actions = ("retry",)

    @admin.display(description="to")
    def destination(self, message: OutboxMessage) -> str:
        """Its exchange, or the queue."""
        return str(message.exchange or message.routing_key)

    @admin.display(description="body")
    def content(self, message: OutboxMessage) -> str:
        """Its body as text."""
        return _shown(message.body)

    def has_retry_permission(self, request: Any) -> bool:
        """Whoever has the permission `amends.retry_outboxmessage`."""
        return bool(request.user.has_perm("amends.retry_outboxmessage"))

    @admin.action(description="Retry the selected parked messages", permissions=("retry",))
    def retry(self, request: Any, queryset: Any) -> None:
        """Let them go again; those that are not parked are left alone."""
        ids = list(queryset.values_list("id", flat=True))
        released = retry_parked(ids, using=queryset.db)
        self.message_user(
            request,
            f"{released} of {len(ids)} messages were parked and are sent again.",
            messages.SUCCESS if released else messages.WARNING,
        )


class _BarrierChangeList(ChangeList):
    """Links to a row by all that names it."""

    def url_for_result(self, result: BarrierRow) -> str:
        """Where its page is."""
        name = f"{result.saga_id}/{result.op}/{result.path}"
        return str(
            reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_change",
                args=(quote(name),),
                current_app=self.model_admin.admin_site.name,
            )
        )


@admin.register(BarrierRow)
class BarrierRowAdmin(ReadOnly):
    """What became of each command."""

    list_display = ("saga_id", "path", "op", "outcome", "certain", "round", "at")
    list_filter = (OpFilter, OutcomeFilter, "certain")
    search_fields = ("path",)
    search_help_text = "A saga's id, or a part of a step's path"
    exclude = ("args", "result")
    readonly_fields = ("arguments", "answer")

    @admin.display(description="args")
    def arguments(self, row: BarrierRow) -> str:
        """What the command brought, as text."""
        return _shown(row.args)

    @admin.display(description="result")
    def answer(self, row: BarrierRow) -> str:
        """What its handler returned, as text."""
        return _shown(row.result)

    def get_search_results(self, request: Any, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The rows of a saga, by the key; or those whose path says it, which reads all of them."""
        try:
            return queryset.filter(saga_id=UUID(search_term.strip())), False
        except ValueError:
            found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)
            return found

    def get_changelist(self, _request: Any, **_options: Any) -> type[ChangeList]:
        """The list whose links name a row in full."""
        return _BarrierChangeList

    def get_object(self, request: Any, object_id: str, _from_field: str | None = None) -> BarrierRow | None:
        """The row that `saga/op/path` names."""
        saga, _, rest = object_id.partition("/")
        op, _, path = rest.partition("/")
        try:
            found: BarrierRow | None = (
                self.get_queryset(request).filter(saga_id=UUID(saga), op=op, path=path).first()
            )
        except ValueError:
            return None
        return found


def _shown(payload: Any) -> str:
    """Bytes as text, not more than a page takes."""
    if payload is None:
        return "-"
    text = bytes(payload).decode("utf-8", "replace")
    return (
        text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]} ... ({len(text):,} characters)"
    )
