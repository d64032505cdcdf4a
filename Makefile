.PHONY: build deb reproducible vulncheck licences setup peers test vet fuzz fuzz-short soak rfc3875 bench check-speed figures

build:
	go build -o bin/ ./cmd/...

# The Debian package, in dist/.
deb:
	packaging/deb

# The package of the last commit, built twice from nothing, with nothing shared. Some minutes.
reproducible:
	scripts/reproducible

# Which licences the modules in the programs are under, in docs/licences.md. Fails where one is not allowed.
licences:
	@page=$$(mktemp) && trap 'rm -f "$$page"' EXIT && \
	cd supply && go run ./cmd/supply licences --arch=amd64 >"$$page" && cat "$$page" && cp "$$page" ../docs/licences.md

# Known vulnerabilities that our code reaches. It needs the network, and so is no part of the tests.
vulncheck:
	scripts/vulncheck

# What the tests run against (Debian packages).
setup:
	scripts/setup

# What the benchmark compares with (Debian packages).
peers:
	scripts/setup peers

# One package after another: those that measure time should not be disturbed by the others.
test: setup vet
	go test -race -p 1 -timeout 20m ./...
	cd packaging/docker && go test ./...
	cd deploy && go test ./...
	cd supply && go test ./...

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not formatted: run gofmt -w" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	cd packaging/docker && go vet ./...
	GOOS=darwin go vet ./cmd/... ./internal/...
	GOARCH=386 go vet ./cmd/... ./internal/...
	cd deploy && go vet ./...
	cd supply && go vet ./...

# Every fuzz target, as long as FUZZTIME says: make fuzz FUZZTIME=10m
FUZZTIME ?= 10m
fuzz:
	FUZZTIME=$(FUZZTIME) scripts/fuzz

# Every fuzz target, a thousand times.
fuzz-short:
	FUZZTIME= scripts/fuzz

# All doors, modes and backends at once, with faults, as long as SOAKTIME says; the figures go into docs/reliability.md.
SOAKTIME ?= 10m
soak: setup
	WARMCGI_SOAK_TIME=$(SOAKTIME) WARMCGI_SOAK_DOC=$(CURDIR)/docs/reliability.md \
		go test -count=1 -timeout 0 -v -run '^TestNoAnswerIsLostOrWrongThroughAllDoors' ./integration

# A black-box checker of CGI gateways, where it is at hand: make rfc3875 CHECKER=its/folder
rfc3875: build
	scripts/rfc3875 $(CHECKER)

bench:
	go run ./bench peers

# The main ratios, in a minute.
check-speed:
	go run ./bench check

# The figures and pictures of docs/performance.md. An hour; leave the machine alone.
figures:
	go run ./bench peers --markdown docs/performance.md --svg docs/performance
