# The service in a container: docker build -t rep-edge .  docs/service.md says how to run it.
FROM python:3.11-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg libportaudio2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir --constraint /wheels/constraints.txt "$(ls /wheels/*.whl)[cpu,sensors,service]" \
    && rm -r /wheels
# Group audio: for a microphone that is handed in with --device /dev/snd.
RUN useradd --system --uid 990 --groups audio --no-create-home rep-edge \
    && install --directory --owner rep-edge /etc/rep-edge /var/lib/rep-edge
USER rep-edge
ENV REP_EDGE_CACHE=/var/lib/rep-edge/cache PYTHONUNBUFFERED=1
VOLUME /var/lib/rep-edge
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["rep-edge"]
CMD ["serve", "--config", "/etc/rep-edge/rep-edge.yaml"]
