"""Logs what Django evaluates late, wherever a record can hold it; prints what each cost and showed."""

import json
import logging
from dataclasses import dataclass, field

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="test",
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    USE_I18N=True,
)
django.setup()

from django import forms  # noqa: E402  # Django is set up first
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.paginator import Paginator  # noqa: E402
from django.db import connection  # noqa: E402
from django.template import Context  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.urls import path, reverse_lazy  # noqa: E402
from django.utils.functional import SimpleLazyObject, lazy  # noqa: E402
from django.utils.text import format_lazy  # noqa: E402
from django.utils.translation import gettext_lazy, ngettext_lazy  # noqa: E402

import hublog  # noqa: E402

urlpatterns = [path("orders/", lambda request: None, name="orders")]


class Queries:
    """Counts what reaches the database."""

    def __init__(self):
        self.total = 0

    def __call__(self, execute, sql, params, many, context):
        self.total += 1
        return execute(sql, params, many, context)


class Choice(forms.Form):
    user = forms.ModelChoiceField(User.objects.all())


class Talking(User):
    """A model whose text needs the database."""

    class Meta:
        app_label = "auth"
        proxy = True

    def __str__(self):
        return f"{self.username} in {self.groups.count()} groups"


@dataclass
class Plain:
    number: int


@dataclass
class Holds:
    user: object
    users: object = field(default=None, repr=False)
    parts: tuple = ()


@dataclass
class Shy(Holds):
    def __repr__(self):
        return "<Shy>"


def cases():
    request = RequestFactory().get("/orders/?a=1")
    request.session = SessionStore("key")
    request.user = SimpleLazyObject(lambda: User.objects.get(pk=1))
    permission = Permission.objects.defer("content_type").first()
    return {
        "lazy object": SimpleLazyObject(lambda: User.objects.get(pk=1)),
        "query set": User.objects.all(),
        "values": User.objects.values("pk"),
        "raw query set": User.objects.raw("select * from auth_user"),
        "manager": User.objects,
        "related manager": Talking.objects.get(pk=1).groups,
        "model": Talking.objects.get(pk=1),
        "deferred model": User.objects.only("pk").get(pk=1),
        "deferred relation": permission,
        "model without a key": User(username="new"),
        "request": request,
        "user of the request": request.user,
        "session": request.session,
        "translation": gettext_lazy("order"),
        "plural": ngettext_lazy("%d order", "%d orders", 2),
        "lazy query": lazy(lambda: str(User.objects.count()), str)(),
        "lazy url": reverse_lazy("orders"),
        "lazy format": format_lazy("{} {}", gettext_lazy("order"), 7),
        "lazy format of a query": format_lazy("{}", User.objects.all()),
        "form": Choice(),
        "bound field": Choice()["user"],
        "page": Paginator(User.objects.order_by("pk"), 1).page(1),
        "paginator": Paginator(User.objects.order_by("pk"), 1),
        "context": Context({"users": User.objects.all()}),
        "dataclass": Plain(7),
        "dataclass of a model": Holds(Talking.objects.get(pk=1), User.objects.all(), (7, "a")),
        "dataclass of lists": Holds(7, None, ([User.objects.all()], {"a": Talking.objects.get(pk=1)})),
        "dataclass of dataclasses": Holds(Holds(Talking.objects.get(pk=1))),
        "dataclass with a repr of its own": Shy(Talking.objects.get(pk=1)),
        "content type": ContentType(pk=3),
        "group": Group(pk=4, name="staff"),
    }


def places(value):
    """Each way in which a record can hold a value."""
    return {
        "extra": lambda log: log("m", extra={"value": value}),
        "nested": lambda log: log("m", extra={"value": {"a": [value]}}),
        "column": lambda log: log("m", extra={"tenant_id": value}),
        "adapter": lambda log: logging.LoggerAdapter(log.__self__, {"value": value}).info("m"),
        "unused argument": lambda log: log("m %(a)s", {"a": 1, "value": value}),
        "event": lambda log: log({"event": "m", "value": value}),
        "nested extra": lambda log: log("m", extra={"extra": {"value": value}}),
        "misfit arguments": lambda log: log("m %d", value),
    }


def bound(log, value):
    token = hublog.bind(value=value)
    try:
        log("m")
    finally:
        hublog.unbind(token)


def main():
    call_command("migrate", verbosity=0)
    User.objects.create(pk=1, username="ann")
    rows = []

    class Keeps(logging.Handler):
        def emit(self, record):
            rows.append(json.loads(formatter.format(record)))

    formatter = hublog.JsonFormatter()
    logger = logging.Logger("shop", 1)
    logger.addHandler(Keeps())
    found = {}
    for case, value in cases().items():
        if case == "page":  # to make one, Django counts once
            del value.paginator.__dict__["count"], value.paginator.__dict__["num_pages"]
        shown = {}
        for place, log in {**places(value), "bound": lambda log, value=value: bound(log, value)}.items():
            if place == "misfit arguments" and isinstance(value, dict):
                continue
            queries = Queries()
            with connection.execute_wrapper(queries):
                log(logger.info)
            row = rows.pop()
            shown[place] = {
                "queries": queries.total,
                "shown": row.get("extra", {}).get("value", row.get("tenant_id")),
            }
        found[case] = shown
    print(json.dumps(found))


main()
