"""Django's own test runner with several processes: real ones, forked and spawned."""

import pytest
from tests.kits.file_hub import LIMIT_S, Program

SETTINGS = """
import file_hub
SECRET_KEY = "test"
ROOT_URLCONF = "project"
INSTALLED_APPS = ["hublog.django"]
MIDDLEWARE = ["hublog.django.middleware.RequestContextMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
LOGGING_CONFIG = None
file_hub.set_up(linger_s=1.0)
"""
VIEWS = """
import os
import file_hub
from django.http import HttpResponse
from django.urls import path

def view(request, number):
    file_hub.log.info("view %d in %d", number, os.getpid())
    return HttpResponse("seen")

urlpatterns = [path("<int:number>/", view)]
"""
TESTS = """
from django.test import SimpleTestCase
"""
CASE = """
class Test{0}(SimpleTestCase):
    def test_view(self):
        for number in range({0} * 10, {0} * 10 + 10):
            self.assertEqual(self.client.get(f"/{{number}}/").status_code, 200)
"""
RUN = """
import multiprocessing, sys
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    execute_from_command_line(["manage.py", "test", "--parallel", "2", "tests_of_project"])
"""


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_all_that_parallel_tests_log_is_delivered_once(tmp_path, way):
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "project.py").write_text(VIEWS)
    (tmp_path / "tests_of_project.py").write_text(TESTS + "".join(map(CASE.format, range(4))))
    (tmp_path / "manage.py").write_text(RUN)
    with Program(tmp_path, "manage.py", way, DJANGO_SETTINGS_MODULE="settings") as program:
        status = program.process.wait(LIMIT_S)
    assert status == 0, program.text()
    assert "Ran 4 tests" in program.text()
    views = [
        message.split() for message in (*program.arrived(), *program.on_disk()) if message.startswith("view")
    ]
    assert sorted(int(number) for _, number, _, _ in views) == list(range(40))
    assert str(program.process.pid) not in {process for *_, process in views}
