"""The orders' web page: order something."""

from __future__ import annotations

import json

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from amends.participants.django import start
from examples.shop import sagas
from examples.shop.orders.models import Order


@require_POST
def place(request: HttpRequest) -> JsonResponse:
    """Keep the order and start its saga, both or neither."""
    wanted = sagas.Order(**json.loads(request.body))
    with transaction.atomic():
        Order.objects.create(number=wanted.number)
        saga = start(sagas.place_order, wanted)
    return JsonResponse({"saga": saga})
