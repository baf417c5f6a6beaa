import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kits.environ import inherited

ROOT = Path(__file__).resolve().parents[2]
FLASK, DJANGO = ROOT / "example_flask", ROOT / "example_django"


@pytest.fixture
def run(tmp_path):
    """Run a command in the folder of an example, as its user would, with its logs in a file only."""
    environ = inherited("LOG_", "EVENTHUB_") | {
        "EVENTHUB_LOGGING_ENABLED": "false",
        "LOG_DIR": str(tmp_path / "logs"),
        "SHOP_DATABASE": str(tmp_path / "django.sqlite3"),
        "FLASK_DATABASE_URL": f"sqlite:///{tmp_path / 'flask.sqlite3'}",
        "SHOP_PASSWORD": "secret",
    }

    def run(folder, *command):
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def logged(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "logs/application.log").read_text().splitlines()]


@pytest.mark.parametrize("shop", [FLASK, DJANGO], ids=["flask", "django"])
def test_a_shop_passes_its_own_tests(run, shop):
    run(shop, "-m", "pytest", "-p", "no:cacheprovider", "-q")


def test_the_django_shop_passes_the_checks_of_django(run):
    run(DJANGO, "manage.py", "check", "--fail-level", "WARNING")


def test_the_models_of_the_django_shop_have_their_migrations(run):
    run(DJANGO, "manage.py", "makemigrations", "--check", "--dry-run")


def test_the_django_shop_opens_twice_without_harm(run, logged):
    run(DJANGO, "manage.py", "migrate", "--verbosity", "0")
    run(DJANGO, "manage.py", "open_shop")
    run(DJANGO, "manage.py", "open_shop")
    stocked = [record for record in logged() if record.get("event_name") == "shop.stocked"]
    assert [record["service_name"] for record in stocked] == ["shop-django", "shop-django"]


def test_the_flask_shop_opens_twice_without_harm(run, logged):
    run(FLASK, "-m", "flask", "--app", "shop", "init-db")
    run(FLASK, "-m", "flask", "--app", "shop", "init-db")
    stocked = [record for record in logged() if record.get("event_name") == "shop.stocked"]
    assert [record["service_name"] for record in stocked] == ["shop-flask", "shop-flask"]


def test_records_of_the_django_shop_carry_trace_tenant_route_and_user(run, logged):
    run(DJANGO, "manage.py", "migrate", "--verbosity", "0")
    run(DJANGO, "manage.py", "open_shop")
    run(
        DJANGO,
        "manage.py",
        "shell",
        "--verbosity",
        "0",
        "--command",
        """
from django.contrib.auth import get_user_model
from django.test import Client
client = Client(headers={"X-Tenant": "acme", "Host": "localhost"}, raise_request_exception=False)
client.force_login(get_user_model().objects.get(username="ada"))
client.post("/orders/", {"sku": "tea"}, content_type="application/json")
traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
client.post(
    "/orders/1/pay/",
    {"card": "4000000000000119"},
    content_type="application/json",
    headers={"traceparent": traceparent},
)
""",
    )
    expected = {
        "trace_id": "ab" * 16,
        "tenant_id": "acme",
        "http_route": "/orders/<int:order_id>/pay/",
        "http_path": "/orders/1/pay/",
    }
    trail = [record for record in logged() if record.get("trace_id") == "ab" * 16]
    assert [record["logger_name"] for record in trail] == [
        "orders.payments",
        "django.request",
        "hublog.request",
    ]
    assert [{name: record.get(name) for name in expected} for record in trail] == [expected] * 3
    assert trail[1]["exception_type"] == "orders.payments.GatewayError"
    assert trail[2]["user_id"] == "1"
