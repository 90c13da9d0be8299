# One image for gateway, worker, steward, flower and migrations; the command decides.
FROM python:3.11-slim-bookworm AS dependencies

# "inference" for workers; a gateway alone runs with EXTRAS="".
ARG EXTRAS=inference,s3
# Another index beside the default one, such as one that carries torch for your hardware.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Only what pyproject.toml names, and our own metadata: this layer stays while the code changes.
RUN touch README.md && pip install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"


FROM python:3.11-slim-bookworm

RUN groupadd --gid 10001 augury \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp augury \
    && install --directory --owner=augury --group=augury /blobs /models
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY . .
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/models/huggingface \
    MODEL_CACHE_DIR=/models
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "api"]
