package measure

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where it was measured.
type Machine struct {
	OS      string  `json:"os"` // linux 6.1.0
	Arch    string  `json:"arch"`
	CPU     string  `json:"cpu,omitempty"` // the processor's name
	Cores   int     `json:"cores"`
	Memory  int64   `json:"memory,omitempty"`
	LoadAvg float64 `json:"load_average,omitempty"` // of the minute before
	Go      string  `json:"go"`
}

// ThisMachine tells of the one that we are on.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.OS += " " + strings.TrimSpace(string(b))
	}
	m.CPU = field("/proc/cpuinfo", "model name")
	kib, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	m.Memory = kib << 10
	b, _ := os.ReadFile("/proc/loadavg")
	of, _, _ := strings.Cut(string(b), " ")
	m.LoadAvg, _ = strconv.ParseFloat(of, 64)
	return m
}

func (m Machine) String() string {
	s := fmt.Sprintf("%d cores", m.Cores)
	if m.CPU != "" {
		s += " (" + m.CPU + ")"
	}
	s += ", " + m.OS
	if m.LoadAvg > 0 {
		s += fmt.Sprintf(", load average %.1f before", m.LoadAvg)
	}
	return s
}

// field is the first of a name in a file of names and values.
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range strings.SplitSeq(string(b), "\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(n) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
