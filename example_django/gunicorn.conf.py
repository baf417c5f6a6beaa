"""``gunicorn`` reads this file by itself when it is started in this folder."""

wsgi_app = "shopsite.wsgi"
bind = "127.0.0.1:8001"
workers = 2
# More than EVENTHUB_LOG_EXIT_TIMEOUT (5 s), so that a worker that is told to stop can deliver what waits.
graceful_timeout = 30
