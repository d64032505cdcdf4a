package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// workload is a CGI program and the answer that it must give.
type workload struct {
	name string
	dir  string // cgi-bin
	file string
	body string
}

// path is the program's URL path at every server.
func (w *workload) path() string { return "/cgi-bin/" + w.file }

const hello = "Hello, world\n"

// sources are the programs. The C one is compiled as anybody would: dynamically linked.
var sources = map[string]string{
	"c": `#include <stdio.h>
int main(void) { fputs("Content-Type: text/plain\n\nHello, world\n", stdout); return 0; }
`,
	"sh":     "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nHello, world\\n'\n",
	"perl":   "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\nHello, world\\n\";\n",
	"python": "#!/usr/bin/python3\nprint('Content-Type: text/plain\\n\\nHello, world')\n",
}

func prepare(name, dir string) (*workload, error) {
	src, ok := sources[name]
	if !ok {
		return nil, fmt.Errorf("there is none; there are c, sh, perl, python")
	}
	w := &workload{name: name, dir: filepath.Join(dir, "cgi-bin"), file: "hello-" + name, body: hello}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(w.dir, w.file)
	if name != "c" {
		return w, os.WriteFile(file, []byte(src), 0o755)
	}
	if err := os.WriteFile(file+".c", []byte(src), 0o644); err != nil {
		return nil, err
	}
	if b, err := exec.Command("cc", "-O2", "-o", file, file+".c").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cc: %w: %s", err, b)
	}
	return w, nil
}
