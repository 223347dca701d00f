# loadfleet in an image: one static binary, nobody's user, nothing else.
#   docker build -t loadfleet:local .
FROM golang:1.26.0-alpine AS build
RUN apk add --no-cache ca-certificates
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/loadfleet ./cmd/loadfleet

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/loadfleet /loadfleet
USER 65532:65532
ENTRYPOINT ["/loadfleet"]
CMD ["--help"]
