//go:build !linux

package doctor

// mountedNoexec is known on Linux only.
func mountedNoexec(string) (Finding, bool) { return Finding{}, false }
