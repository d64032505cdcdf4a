package main

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"strings"
)

// What flags of several commands hold is read here.

// parseHeader reads the fields of a request, NAME: VALUE.
func parseHeader(list []string) (http.Header, error) {
	header := http.Header{}
	for _, h := range list {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, fmt.Errorf("--header %q: write NAME: VALUE", h)
		}
		header.Add(textproto.TrimString(name), textproto.TrimString(value))
	}
	return header, nil
}

// checkExtra looks at what stands behind a script's name.
func checkExtra(path string) error {
	if path != "" && path[0] != '/' && path[0] != '?' {
		return fmt.Errorf("--path %q: write /extra/path, ?query or both", path)
	}
	return nil
}

// checkExecutable: the gateway answers 403 for a script that is not, and that nothing runs.
func checkExecutable(script string, info os.FileInfo, interpreter string) error {
	if info.Mode().Perm()&0o111 == 0 && interpreter == "" {
		return fmt.Errorf("%s is not executable: chmod +x it, or give --interpreter", script)
	}
	return nil
}

// rootCAs reads the file of --ca; without one they are the system's, which is nil.
func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca %s: there is no certificate in it", file)
	}
	return pool, nil
}
