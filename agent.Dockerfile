# The agent's image: Python, libpcap, scapy, the HTTP parsers, and the three packages of ours that run beside a target, their
# cores compiled.
# Nothing else.
#
#   docker build -t podmirror-agent:VERSION -f agent.Dockerfile .        (or `make image`)
#
# It contains scapy, which is GPL-2.0-only: see LICENSE before you distribute such an image.

FROM debian:trixie-slim AS build
# A proxy's certificate, for builds behind one; unset elsewhere.
ARG PIP_CERT
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-pip
RUN pip install --break-system-packages --no-cache-dir --no-compile --no-deps --target /agent "scapy==2.8.0" "h11==0.16.0" "httptools==0.9.0" "google-re2==1.1.20251105" \
 # Only scapy's core is imported; its dissectors, tests and tools are two thirds of its size.
 && rm -rf /agent/bin /agent/share /agent/scapy/contrib /agent/scapy/tools /agent/scapy/modules /agent/scapy/asn1fields.txt
RUN pip install --break-system-packages --no-cache-dir "mypy[mypyc]==2.4.1"
COPY scripts/compile-agent /build/scripts/compile-agent
COPY wire/podmirror_wire /build/wire/podmirror_wire
COPY http/podmirror_http /build/http/podmirror_http
COPY agent/podmirror_agent /build/agent/podmirror_agent
RUN sh /build/scripts/compile-agent /compiled python3 && cp -R /compiled/. /agent && python3 -m compileall -q /agent

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 libpcap0.8t64 && rm -rf /var/lib/apt/lists/*
COPY --from=build /agent /agent
ENV PYTHONPATH=/agent PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/nonexistent
# uid 0, because capabilities are effective for root alone where Kubernetes adds them; every one is dropped at start.
USER 0
ENTRYPOINT ["python3", "-m", "podmirror_agent"]
