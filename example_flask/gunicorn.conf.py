"""``gunicorn`` reads this file by itself when it is started in this folder."""

wsgi_app = "shop:create_app()"
bind = "127.0.0.1:8000"
workers = 2
threads = 4
# More than EVENTHUB_LOG_EXIT_TIMEOUT (5 s), so that a worker that is told to stop can deliver what waits.
graceful_timeout = 30
