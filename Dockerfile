# The page and the API, with the default model: an image without PyTorch, run by a user without rights.
#
#     docker build -t quickstroke . && docker run -p 8000:8000 quickstroke

FROM python:3.13-slim AS build
WORKDIR /build
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "$(ls /wheels/*.whl)[export]"
RUN cd / && quickstroke export "$(quickstroke models --json | python -c 'import json, sys; print(next(m["path"] for m in json.load(sys.stdin)["models"] if m["default"]))')" --to onnx --into /wheels/model.onnx

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[serve,onnx,pictures]" && mv /wheels/model.onnx /srv && rm -r /wheels \
    && useradd --system --create-home quickstroke
USER quickstroke
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/api/v1/healthz')"]
CMD ["quickstroke", "serve", "/srv/model.onnx", "--host", "0.0.0.0"]
