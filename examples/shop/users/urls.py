from django.urls import path

from examples.shop.users import views

urlpatterns = [
    path("users", views.sign_up),
    path("users/<email>", views.user),
    path("users/<email>/login", views.log_in),
    path("users/<email>/password", views.change_password),
]
