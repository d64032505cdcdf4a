package config

// checkWorkers notes what says nothing about the way in which a route's scripts are run.
func (d *decoder) checkWorkers(key string, r *Route) {
	starts := r.CGI != nil || r.Files != nil && len(r.Files.Scripts) > 0
	for _, k := range []string{".preload", ".runner", ".mode", ".workers", ".reuse"} {
		at := key + k
		switch {
		case !d.src.has(at):
		case k == ".reuse" && r.starts(): // which is replaced after so much
		case !starts:
			d.note(d.src.key(at, "has no effect: the route starts no script"))
		case k == ".mode":
		case r.Mode == ModeSpawn && k != ".workers": // whose max holds for all
			d.note(d.src.key(at, "has no effect in mode spawn"))
		case r.Mode == ModeWarm && k == ".reuse":
			d.note(d.src.key(at, "has no effect in mode warm"))
		}
	}
	d.checkSpare(key, &r.Settings)
}

func (d *decoder) checkSpare(key string, s *Settings) {
	w := s.Workers
	if at := key + ".workers.spare"; d.src.has(at) && w.Max > 0 && w.Spare > w.Max {
		d.note(d.src.value(at, "no more than %d are kept, as that is the most that workers.max allows", w.Max))
	}
}
