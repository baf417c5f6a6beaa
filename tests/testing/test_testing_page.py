"""What docs/testing.md says can be copied: each block is run, each failure looks as it is shown."""

import textwrap
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
BLOCKS = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]

PROJECT = """
    import hublog.django

    SECRET_KEY = "x"
    ALLOWED_HOSTS = ["testserver"]
    ROOT_URLCONF = "urls"
    INSTALLED_APPS = ["hublog.django"]
    MIDDLEWARE = ["hublog.django.middleware.RequestContextMiddleware"]
    LOG_TO_STDOUT = FILE_LOGGING_ENABLED = False
    LOGGING = hublog.django.logging_config(globals())
"""
URLS = """
    import logging
    from django.http import HttpResponse
    from django.urls import path

    def order(request, number):
        logging.getLogger("shop").info("looked at order %d", number)
        return HttpResponse("tea")

    urlpatterns = [path("orders/<int:number>/", order)]
"""


@pytest.mark.parametrize("is_django", [False, True], ids=["others", "django"])
def test_the_blocks_of_the_page_pass(pytester, is_django):
    blocks = [block for block in BLOCKS if ("django" in block) is is_django]
    files = {f"test_{number}": block for number, block in enumerate(blocks)}
    pytester.makepyfile(**files, shop_settings=textwrap.dedent(PROJECT), urls=textwrap.dedent(URLS))
    django = ("-p", "django", "--ds=shop_settings") if is_django else ("-p", "no:django")
    result = pytester.runpytest_subprocess("-W", "error", "--strict-markers", *django, timeout=100)
    result.assert_outcomes(passed=sum(block.count("def test_") for block in blocks))
    assert blocks


def test_the_failure_of_the_page_is_what_people_see(pytester):
    pytester.makepyfile(
        **{
            "shop/payment": "# payments"
            + "\n" * 11
            + "def begin(log): log.info('payment of order 7 begun', extra={'order': 7})\n"
            + "\n" * 18
            + "def fail(log): log.warning('payment of order 8 failed', extra={'order': 8})\n",
            "test_it": """
                import logging
                from shop import payment

                def test_it(hublog_records):
                    payment.fail(logging.getLogger("shop"))
                    payment.begin(logging.getLogger("shop"))
                    hublog_records.assert_logged(level="ERROR", message="failed", order=7)
            """,
        }
    )
    result = pytester.runpytest_subprocess("-p", "no:django", timeout=100)
    result.assert_outcomes(failed=1)
    [shown] = [part.split("```")[0] for part in PAGE.split("```text\n")[1:]]
    seen = "\n".join(line.removeprefix("E").strip() for line in result.outlines if line.startswith("E  "))
    assert seen == "\n".join(line.strip() for line in shown.strip().splitlines())
