from django.urls import path

from examples.shop.orders import views

urlpatterns = [path("orders", views.place)]
