# The service, and nothing of its tests. Built from the runtime lock alone; runs as nobody in particular, on a read-only root.
FROM python:3.15-slim AS packages
WORKDIR /build
# strips debug symbols, 25 MB of them; without it the image is larger and as good
RUN apt-get -qq update && apt-get -qq install --yes --no-install-recommends binutils >/dev/null || echo "no binutils to be had"
COPY requirements.lock .
RUN python3 -m venv /packages \
 && /packages/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes -r requirements.lock \
 && /packages/bin/pip uninstall --yes pip \
 # sources of compiled modules, other people's tests and what only type checkers read are of no use here
 && find /packages \( -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.pyi' \) -delete \
 && find /packages -type d \( -name tests -o -path '*/sqlalchemy/testing' -o -path '*/alembic/testing' \) -prune -exec rm -r {} + \
 && { ! command -v strip || find /packages -name '*.so' -exec strip --strip-unneeded {} +; } \
 # a real model's client, and all that it alone needs, is compiled when it is first imported
 && python3 -m compileall -q -x '/(openai|pydantic_ai|pydantic_graph|genai_prices|griffe|logfire_api|tiktoken|regex|requests|urllib3|charset_normalizer|v1)/' \
    /packages/lib

FROM python:3.15-slim
ENV PATH=/packages/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    APP_ENVIRONMENT=production APP_HOST=0.0.0.0 APP_LOG_FORMAT=json
WORKDIR /service
COPY --from=packages /packages /packages
COPY pyproject.toml ./
COPY commitstream commitstream
COPY app app
# a checkout under umask 077 is for its owner's eyes, and the service runs as another user
RUN chmod -R a+rX . && python -m compileall -q app commitstream
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["python", "-m", "app"]
