package serving

import (
	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd (sd_notify(3)), where it has started us. That it does not listen is no failure of ours.
func notify(state string) { daemon.SdNotify(false, state) }

// notifyReloading is for units of Type=notify-reload, which wait for READY=1 then.
func notifyReloading() {
	notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}
