package cgi

// Died says that a signal has ended a process, which the gateway has not sent. It comes
// with [ErrNoOutput] or [ErrTruncated].
type Died struct{ Signal string }

// Error is "died of SIGSEGV".
func (d *Died) Error() string { return "died of " + d.Signal }

// Crashed reports whether a process has ended by a failure: its own, or the machine's
// when memory runs out. Other signals are those that programs send themselves (SIGALRM,
// SIGTERM …), and that a limit or the gateway ended it is no failure either.
func (e Exit) Crashed() bool {
	if e.Killed != "" || e.Limit != "" {
		return false
	}
	return (&Died{e.Signal}).Crash()
}

// Crash is [Exit.Crashed] for what is known of an error.
func (d *Died) Crash() bool {
	switch d.Signal {
	case "SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP", "SIGKILL":
		return true
	}
	return false
}
