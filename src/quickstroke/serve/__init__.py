"""The web server: a page to draw on and an HTTP API, both on one model.

limits.py    what a request may ask for, and how it is refused
schemas.py   the JSON that goes in and comes out
bodies.py    bytes from the network -> simplified drawings
quick.py     the same by compiled code, for the bodies that most clients send
batching.py  drawings of many requests -> one run of the model
metrics.py   counts for Prometheus
guard.py     who may use the API, and how often
docs.py      the page /docs
app.py       the application: routes, headers, errors
server.py    the socket and uvicorn
workers.py   several processes at one address
static/      the page
"""
