from django.urls import path

from examples.shop.users import views

urlpatterns = [path("users", views.sign_up)]
