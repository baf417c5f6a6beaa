"""A package that stands for hublog and does nothing: first on the path, it leaves the bare application."""

from pathlib import Path
from textwrap import dedent
from typing import Final

_PACKAGE: Final = {
    "__init__.py": """
        def bind(**fields): pass
    """,
    "asgi.py": """
        def lifespan(app): return app
    """,
    "celery.py": "",
    "flask.py": """
        class HubLog:
            def init_app(self, app): pass
    """,
    "django/__init__.py": """
        def logging_config(settings):
            settings["INSTALLED_APPS"].remove("hublog.django")
            settings["MIDDLEWARE"].remove("hublog.django.middleware.RequestContextMiddleware")
            return {}
    """,
}


def write_package(folder: Path) -> None:
    """Write the package ``hublog`` into a folder."""
    for name, text in _PACKAGE.items():
        path = folder / "hublog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
