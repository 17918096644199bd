"""The users' web pages. What they change, and the event that tells of it, is one transaction."""

from __future__ import annotations

import json

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_http_methods, require_POST

from amends.participants.django import emit, start
from examples.shop.events import Person, Who, password_changed, user_deleted, user_logged_in, user_updated
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


@require_http_methods(["PATCH", "DELETE"])
@transaction.atomic
def user(request: HttpRequest, email: str) -> HttpResponse:
    """Rename a user, or delete one."""
    found = get_object_or_404(User.objects.select_for_update(), email=email, active=True)
    if request.method == "DELETE":
        found.delete()
        emit(user_deleted, Who(email), key=email)
    else:
        found.name = json.loads(request.body)["name"]
        found.save()
        emit(user_updated, Person(email, found.name, found.country), key=email)
    return HttpResponse(status=204)


@require_POST
@transaction.atomic
def log_in(_request: HttpRequest, email: str) -> HttpResponse:
    if not User.objects.filter(email=email, active=True).update(logins=F("logins") + 1):
        return HttpResponse(status=404)
    emit(user_logged_in, Who(email), key=email)
    return HttpResponse(status=204)


@require_POST
@transaction.atomic
def change_password(request: HttpRequest, email: str) -> HttpResponse:
    password = make_password(json.loads(request.body)["password"])
    if not User.objects.filter(email=email, active=True).update(password=password):
        return HttpResponse(status=404)
    emit(password_changed, Who(email), key=email)
    return HttpResponse(status=204)
