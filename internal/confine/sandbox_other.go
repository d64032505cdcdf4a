//go:build unix && !linux

package confine

// LandlockVersion is Linux's.
func LandlockVersion() int { return 0 }

// Possible says that it is not.
func (s *Sandbox) Possible() error { return ErrNoSandbox }

// Enter fails where there is a sandbox: see the one for Linux.
func (s *Sandbox) Enter(Place) error {
	if s == nil {
		return nil
	}
	return errPlatform
}
