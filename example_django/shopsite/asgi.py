"""For ASGI servers: `uvicorn shopsite.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

from hublog.asgi import lifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shopsite.settings")

# uvicorn runs no exit hooks; so wrapped, a worker that ends delivers what waits.
application = lifespan(get_asgi_application())
