.PHONY: build setup test vet rfc3875 bench

build:
	go build -o bin/ ./cmd/...

# What the tests run against (Debian packages).
setup:
	scripts/setup

# One package after another: those that measure time should not be disturbed by the others.
test: setup vet
	go test -race -p 1 -timeout 20m ./...

vet:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not formatted: run gofmt -w" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	GOOS=darwin go vet ./cmd/... ./internal/...
	GOARCH=386 go vet ./cmd/... ./internal/...

# A black-box checker of CGI gateways, where it is at hand: make rfc3875 CHECKER=its/folder
rfc3875: build
	scripts/rfc3875 $(CHECKER)

bench:
	go run ./bench
