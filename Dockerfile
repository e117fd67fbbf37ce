# The binaries of assent: daemons, tools, library. One image, the command says which.
#
#   docker build -t assent .
#   docker run --rm assent assentctl --help
ARG DEBIAN=debian:12.11-slim

FROM ${DEBIAN} AS build
WORKDIR /src
# Packages first: they change less often than the code does.
COPY tests/lib/install.sh tests/lib/install.sh
RUN tests/lib/install.sh build
COPY . .
RUN make -j"$(nproc)" library programs \
 && make install DESTDIR=/out PREFIX=/usr

FROM ${DEBIAN}
LABEL org.opencontainers.image.title="assent" \
      org.opencontainers.image.description="Atomic commit over Kafka topics: coordinator, sample services, tools" \
      org.opencontainers.image.licenses="MIT"
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        curl libavro23 libcurl4 libhiredis0.14 libjansson4 libmicrohttpd12 librdkafka1 libsqlite3-0 libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 assent \
 && useradd --uid 10001 --gid assent --no-create-home --home-dir /var/lib/assent --shell /usr/sbin/nologin assent \
 && install -d -o assent -g assent -m 0750 /var/lib/assent /etc/assent/tokens
COPY --from=build /out/usr/bin/ /usr/bin/
COPY --from=build /out/usr/lib/libassent.so* /usr/lib/
USER assent
WORKDIR /var/lib/assent
# The databases of participants; a named volume takes over the folder's owner, here and at /etc/assent/tokens.
VOLUME /var/lib/assent
# The daemons drain on SIGTERM and need no init in front of them.
STOPSIGNAL SIGTERM
CMD ["assentctl", "--help"]
