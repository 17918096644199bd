"""The users' web pages: sign up."""

from __future__ import annotations

import json

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from amends.participants.django import start
from examples.shop.sagas import Newcomer, onboard
from examples.shop.users.models import User


@require_POST
def sign_up(request: HttpRequest) -> JsonResponse:
    """Keep the user and start the onboarding, both or neither."""
    newcomer = Newcomer(**json.loads(request.body))
    with transaction.atomic():
        User.objects.create(email=newcomer.email, name=newcomer.name, country=newcomer.country)
        saga = start(onboard, newcomer)
    return JsonResponse({"saga": saga})
